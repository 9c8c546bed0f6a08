"""After training: the probability threshold that outlines the validation cases best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breastkit.logs import get_logger
from breastkit.training.case_dice import CaseDice
from breastkit.training.distributed import is_main
from breastkit.training.validation_search import ValidationSearch
from breastkit.weights import add_facts

logger = get_logger(__name__)


@dataclass(eq=False)
class ThresholdSearch(ValidationSearch):
    """Sweeps the threshold over the validation cases with the best weights and stores the best one with them.

    The threshold is the one with the highest mean Dice over cases, in the middle where several are as good. Written
    are ``thresholds.csv``, ``thresholds.png``, and ``threshold`` in ``model.json``.

    Args:
        folder: the run's output folder, with the best weights.
        evaluator: the run's engine that validates; its network gets these weights.
        low: first threshold.
        high: last threshold.
        step: distance of thresholds.
    """

    low: float = 0.05
    high: float = 0.95
    step: float = 0.05

    def choose(self) -> float:
        """Returns the best threshold."""
        thresholds = np.round(np.arange(self.low, self.high + self.step / 2, self.step), 6).tolist()
        metric = CaseDice(self.cases, thresholds=thresholds)
        for logits, batch in self.outputs("Threshold search"):
            metric.update((logits, batch["label"], batch["case"]))
        dice = metric.per_case().mean(0).tolist()
        best = best_threshold(thresholds, dice)
        if is_main():
            rows = [{"threshold": t, "dice": d} for t, d in zip(thresholds, dice, strict=True)]
            self.write_sweep(rows, best, title="Threshold search", of="mean over validation cases")
            reached = dice[thresholds.index(best)]
            add_facts(self.folder, threshold=best, figures={"val_dice_at_threshold": reached})
            logger.info("Best threshold %.2f: mean validation Dice %.4f.", best, reached)
        return best


def best_threshold(thresholds: Sequence[float], dice: Sequence[float]) -> float:
    """Returns the threshold with the highest Dice, the middle one of equals."""
    ties = np.flatnonzero(np.isclose(dice, max(dice), rtol=0, atol=1e-9))
    return thresholds[int(ties[(len(ties) - 1) // 2])]
