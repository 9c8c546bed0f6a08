"""Whether acting on a classifier does more good than harm, at a stated prevalence."""

from __future__ import annotations

import numpy as np


def shifted_prevalence(probability: np.ndarray, *, before: float, after: float) -> np.ndarray:
    """Returns probabilities for a population with another share of the class, by Bayes' rule.

    Args:
        probability: of the class.
        before: share of the class where the probabilities were calibrated.
        after: share of the class in the other population.
    """
    probability = np.clip(np.asarray(probability, dtype=float), 1e-9, 1 - 1e-9)
    factor = after / (1 - after) / (before / (1 - before))
    odds = probability / (1 - probability) * factor
    return odds / (1 + odds)


def net_benefit(
    probability: np.ndarray, is_class: np.ndarray, thresholds: np.ndarray, *, prevalence: float
) -> np.ndarray:
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
    return prevalence * found - (1 - prevalence) * wrong * thresholds / (1 - thresholds)
