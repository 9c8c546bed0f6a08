"""A progress bar for every epoch."""

from __future__ import annotations

from ignite.engine import Engine, Events

from breastkit.progress import progress_bar
from breastkit.training.distributed import is_main


class EpochProgress:
    """Handler that shows batches done, rate and end time of the epoch.

    Args:
        text: what the bar says before the number of the epoch.
    """

    def __init__(self, text: str = "Epoch"):
        self.text = text

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer or an evaluator."""
        if is_main():
            engine.add_event_handler(Events.EPOCH_STARTED, self.start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.bar.update())
            engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: self.bar.close())

    def start(self, engine: Engine) -> None:
        """Opens the bar of an epoch."""
        text = f"{self.text} {engine.state.epoch}/{engine.state.max_epochs}"
        self.bar = progress_bar(text, total=engine.state.epoch_length, unit="batch", leave=False)
