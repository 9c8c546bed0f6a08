"""Whether acting on a classifier does more good than harm, at a stated prevalence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shifted_prevalence(probability: NDArray[Any], *, before: float, after: float) -> NDArray[Any]:
    """Returns probabilities for a population with another share of the class, by Bayes' rule.

    Args:
        probability: of the class.
        before: share of the class where the probabilities were calibrated.
        after: share of the class in the other population.
    """
    probability = np.clip(np.asarray(probability, dtype=float), 1e-9, 1 - 1e-9)
    factor = after / (1 - after) / (before / (1 - before))
    odds = probability / (1 - probability) * factor
    return np.asarray(odds / (1 + odds))


def net_benefit(
    probability: NDArray[Any], is_class: NDArray[Any], thresholds: NDArray[Any], *, prevalence: float
) -> NDArray[Any]:
    """Returns the net benefit of acting where the probability reaches a threshold, for each threshold.

    True positives count one; false ones cost the odds of the threshold, at which a reader finds acting and leaving it
    worth the same. Acting on all has ``prevalence - (1 - prevalence) * threshold / (1 - threshold)``, on none 0.

    Args:
        probability: of the class, at that prevalence (see `shifted_prevalence`).
        is_class: the truth.
        thresholds: between 0 and 1.
        prevalence: share of the class in the population; the pictures' own share does not matter.
    """
    probability, truth = np.asarray(probability, dtype=float), np.asarray(is_class, dtype=bool)
    thresholds = np.asarray(thresholds, dtype=float)
    acted = probability[None] >= thresholds[:, None]
    found, wrong = acted[:, truth].mean(1), acted[:, ~truth].mean(1)
    return np.asarray(prevalence * found - (1 - prevalence) * wrong * thresholds / (1 - thresholds))
