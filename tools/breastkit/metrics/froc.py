"""How many lesions are found at how many false alarms a case: the FROC curve, with intervals over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.metrics.intervals import Interval

# False candidates a case at which sensitivity is told.
RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_RESAMPLES = 2000


@dataclass(frozen=True)
class CaseFindings:
    """What was found in one case.

    Attributes:
        lesions: for every true lesion the highest score of a candidate that hits it, NaN where none does.
        false_scores: scores of the candidates that hit none.
        sizes: of the lesions, in whatever unit.
    """

    lesions: tuple[float, ...]
    false_scores: tuple[float, ...]
    sizes: tuple[float, ...] = field(default=())


def froc_curve(cases: Sequence[CaseFindings]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Returns scores, falling, with the false candidates a case and the sensitivity when candidates count from there.

    Raises:
        ValueError: if there is no case.
    """
    if not cases:
        raise ValueError("a curve needs at least one case")
    found, false, total = _pooled(cases)
    scores = np.unique(np.concatenate([found, false]))[::-1]
    rates = np.array([(false >= score).sum() for score in scores]) / len(cases)
    sensitivity = (
        np.array([(found >= score).sum() for score in scores]) / total if total else np.full(len(scores), np.nan)
    )
    return scores, rates, sensitivity


def sensitivity_at(cases: Sequence[CaseFindings], rate: float) -> float:
    """Returns the share of lesions found where at most so many false candidates a case are let through.

    NaN where there is no lesion.
    """
    found, false, total = _pooled(cases)
    if not total:
        return float("nan")
    allowed = int(np.floor(rate * len(cases) + 1e-9))
    ranked = np.sort(false)[::-1]
    # All that scores higher than the first false candidate too many.
    limit = ranked[allowed] if allowed < len(ranked) else -np.inf
    return float((found > limit).sum() / total)


def sensitivity_interval(
    cases: Sequence[CaseFindings], rate: float, *, level: float = 0.95, resamples: int = _RESAMPLES, seed: int = 0
) -> Interval:
    """Returns the sensitivity at a rate of false candidates with its bootstrap interval over cases.

    Args:
        cases: one entry a patient.
        rate: false candidates a case.
        level: confidence level.
        resamples: number of bootstrap samples; the rate is held in each of them anew.
        seed: for the resampling.
    """
    value = sensitivity_at(cases, rate)
    if len(cases) < 2 or not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    draw = np.random.default_rng(seed).integers(len(cases), size=(resamples, len(cases)))
    values = [sensitivity_at([cases[position] for position in row], rate) for row in draw]
    low, high = np.nanpercentile(values, (50 * (1 - level), 50 * (1 + level)))
    return Interval(value, float(low), float(high))


def found_by_size(
    cases: Sequence[CaseFindings], limits: Sequence[float], *, rate: float
) -> list[tuple[float, float, int, int]]:
    """Returns how many lesions of each size are found at a rate of false candidates.

    Args:
        cases: with sizes.
        limits: rising; sizes below the first, between, and from the last on are a group each.
        rate: false candidates a case, counted over all cases.

    Returns:
        Lower limit, upper limit, lesions found, lesions.
    """
    _, false, _ = _pooled(cases)
    allowed, ranked = int(np.floor(rate * len(cases) + 1e-9)), np.sort(false)[::-1]
    limit = ranked[allowed] if allowed < len(ranked) else -np.inf
    sizes = np.array([size for case in cases for size in case.sizes])
    scores = np.array([score for case in cases for score in case.lesions])
    edges = [0.0, *limits, np.inf]
    groups = []
    for low, high in pairwise(edges):
        inside = (sizes >= low) & (sizes < high)
        groups.append((float(low), float(high), int((scores[inside] > limit).sum()), int(inside.sum())))
    return groups


def _pooled(cases: Sequence[CaseFindings]) -> tuple[NDArray[Any], NDArray[Any], int]:
    lesions = np.array([score for case in cases for score in case.lesions], float)
    false = np.array([score for case in cases for score in case.false_scores], float)
    return lesions[np.isfinite(lesions)], false, len(lesions)
