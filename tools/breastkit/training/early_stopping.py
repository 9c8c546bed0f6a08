"""Early stopping whose state survives in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping as IgniteEarlyStopping

from breastkit.logs import get_logger
from breastkit.training.checkpoint import keep_state
from breastkit.training.distributed import is_main

logger = get_logger(__name__)


class EarlyStopping:
    """Handler that ends training when a validation figure has not improved for so many validations.

    Stands after the validation among the trainer's handlers.

    Args:
        evaluator: the engine that validates.
        patience: validations without improvement after which to stop.
        metric: name of the figure in the evaluator's metrics.
        mode: whether smaller or larger is better.
    """

    def __init__(
        self, evaluator: Engine, *, patience: int, metric: str = "val_loss", mode: Literal["min", "max"] = "min"
    ):
        self.evaluator, self.patience, self.metric, self.mode = evaluator, patience, metric, mode

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer."""
        self.trainer = engine
        self.counting = IgniteEarlyStopping(
            self.patience, lambda _: float(self.evaluator.state.metrics[self.metric]), engine, mode=self.mode
        )
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        keep_state(engine, "early_stopping", self)

    def __call__(self, engine: Engine) -> None:
        """Counts the epoch if it was validated."""
        if self.evaluator.state.epoch != engine.state.epoch:
            return
        self.counting(engine)
        if self.counting.counter >= self.patience and is_main():
            logger.info("Stopping: %s has not improved for %d validations.", self.metric, self.patience)

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the best figure and the count."""
        return dict(self.counting.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the count up again; a run that had stopped stays stopped."""
        self.counting.load_state_dict(state)
        if self.counting.counter >= self.patience:
            self.trainer.terminate()
