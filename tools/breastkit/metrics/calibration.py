"""How far probabilities can be taken at their word."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from breastkit.metrics.classification import softmax

# Temperatures looked at: beyond these a network says nothing, or nothing but certainties.
_LOWEST, _HIGHEST = 0.05, 20.0


class Bin(NamedTuple):
    """Pictures of like probability.

    Attributes:
        count: how many.
        probability: their mean probability.
        share: the share of them that are what the probability is of.
    """

    # Hides the method of tuples, which nobody asks of a bin.
    count: int  # type: ignore[assignment]
    probability: float
    share: float


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Returns what to divide logits by so that their probabilities make the labels most likely.

    Args:
        logits: ``(pictures, classes)``.
        labels: indices of the true classes.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)

    def surprise(log_temperature: float) -> float:
        chosen = softmax(logits / np.exp(log_temperature))[np.arange(len(labels)), labels]
        return float(-np.log(np.clip(chosen, 1e-12, None)).mean())

    found = minimize_scalar(surprise, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def reliability_bins(probability: NDArray[Any], is_class: NDArray[Any], *, bins: int = 10) -> list[Bin]:
    """Returns pictures put together by their probability, in equal steps of it; steps without a picture are left out.

    Args:
        probability: of a class.
        is_class: whether a picture is of that class.
        bins: how many steps.
    """
    probability, is_class = np.asarray(probability, dtype=float), np.asarray(is_class, dtype=float)
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        Bin(int((place == k).sum()), float(probability[place == k].mean()), float(is_class[place == k].mean()))
        for k in np.unique(place)
    ]


def calibration_error(probability: NDArray[Any], is_class: NDArray[Any], *, bins: int = 10) -> float:
    """Returns the expected calibration error (ECE): how far probability and share are apart in the mean."""
    found = reliability_bins(probability, is_class, bins=bins)
    count = sum(one.count for one in found)
    return sum(one.count * abs(one.probability - one.share) for one in found) / count if count else float("nan")
