"""Keeps the weights of the best epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from ignite.engine import Engine, Events
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.training.checkpoint import keep_state
from breastkit.training.distributed import is_main
from breastkit.training.run_folder import RunFolder
from breastkit.weights import load_weights, save_weights


@dataclass(eq=False)
class BestWeights:
    """Handler that writes ``model.pt`` and ``model.json`` whenever a validation figure is the best so far, or always.

    Stands after the validation among the trainer's handlers.

    Args:
        run: the run, into whose folder they go.
        network: the network itself, not its distributed wrapper.
        evaluator: the engine that validates.
        metric: name of the figure in the evaluator's metrics.
        mode: whether smaller or larger is better; ``last`` keeps every epoch's weights in place of the ones before, so
            that figures on the validation cases owe nothing to a choice made on them.
        facts: what to say about the weights in ``model.json`` beside the figures and the facts of every run.
    """

    run: RunFolder
    network: nn.Module
    evaluator: Engine
    _: KW_ONLY
    metric: str = "val_loss"
    mode: Literal["min", "max", "last"] = "min"
    facts: Mapping[str, Any] | None = None
    best: float | None = field(init=False, default=None)

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        keep_state(engine, "best_weights", self)

    def __call__(self, engine: Engine) -> None:
        """Writes the weights if the epoch was validated and is the best."""
        if self.evaluator.state.epoch != engine.state.epoch:
            return
        figures = {name: float(value) for name, value in self.evaluator.state.metrics.items()}
        figure = figures[self.metric]
        # Whatever the first figure is, even not a number, it leaves weights to look at.
        if self.best is not None:
            better = {"min": figure < self.best, "max": figure > self.best, "last": True}
            if not better[self.mode]:
                return
        self.best = figure
        if is_main():
            figures["epoch"] = engine.state.epoch
            # A search after training chooses the threshold.
            facts = {**self.run.facts, "threshold": 0.5, **(self.facts or {})}
            save_weights(self.run.path, self.network, **facts, figures=figures)

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the best figure so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the best figure back, unless its weights are gone."""
        self.best = state["best"]
        try:
            load_weights(self.run.path)
        except BreastkitError:
            # A run killed right after ``model.pt`` was written has the ``model.json`` of the weights before beside it.
            self.best = None
