"""Metrics that know which case every part of a batch belongs to."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from ignite.metrics import Metric


class CaseMetric(Metric):
    """Base of metrics over whole cases, of an engine whose output is not decollated.

    Args:
        cases: number of cases; a batch names the case of each of its items by its index under ``case``.
    """

    def __init__(self, cases: int) -> None:
        self.cases = cases
        super().__init__()

    def iteration_completed(self, engine: Engine) -> None:
        """Takes in a batch: predictions, labels and indices of the cases."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        self.update((output["pred"], output["label"], batch["case"]))
