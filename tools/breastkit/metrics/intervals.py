"""How certain a figure is: bootstrap intervals of a mean, and paired tests between two methods on the same cases."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 5000


class Interval(NamedTuple):
    """A figure with its confidence interval; the bounds are NaN where too few cases were given."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """Returns ``value (low-high)``."""
        if not np.isfinite([self.low, self.high]).all():
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


class PairedTest(NamedTuple):
    """The mean difference of two methods on the same cases.

    Attributes:
        cases: number of pairs.
        difference: mean of first minus second, with its bootstrap interval.
        p_value: two-sided, of a permutation test of the mean that swaps the two methods within cases.
    """

    cases: int
    difference: Interval
    p_value: float


def bootstrap_interval(
    values: Sequence[float],
    *,
    level: float = 0.95,
    statistic: Callable[..., NDArray[Any]] = np.mean,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Returns a figure over cases with its percentile bootstrap interval.

    Args:
        values: one per case, independent of each other (one per patient, not per slice).
        level: confidence level.
        statistic: what to make of the values; takes ``axis``.
        resamples: number of bootstrap samples.
        seed: for the resampling; the same values give the same interval.
    """
    from scipy import stats

    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return Interval(np.nan, np.nan, np.nan)
    value = float(statistic(known, axis=0))
    if len(known) < 2:
        return Interval(value, np.nan, np.nan)
    if np.ptp(known) == 0:
        return Interval(value, value, value)
    result = stats.bootstrap(
        (known,),
        statistic,
        confidence_level=level,
        n_resamples=resamples,
        method="percentile",
        vectorized=True,
        # In pieces, so that thousands of cases do not need gigabytes.
        batch=max(1, 10_000_000 // len(known)),
        rng=np.random.default_rng(seed),
    )
    return Interval(value, float(result.confidence_interval.low), float(result.confidence_interval.high))


def grouped_interval(
    values: Sequence[float],
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Returns a mean over images with its percentile bootstrap interval over groups, such as the images of a patient.

    Args:
        values: one per image.
        groups: which group each image belongs to; groups are independent of each other, their images are not.
        level: confidence level.
        resamples: number of bootstrap samples.
        seed: for the resampling.
    """
    known = np.asarray(values, dtype=float)
    finite = np.isfinite(known)
    _, index = np.unique(np.asarray([str(group) for group in groups])[finite], return_inverse=True)
    known = known[finite]
    counts = np.bincount(index)
    sums = np.bincount(index, weights=known)
    if len(counts) < 2:
        return Interval(float(known.mean()) if len(known) else np.nan, np.nan, np.nan)
    drawn = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(known.mean()), float(low), float(high))


def share_interval(hits: int, count: int, *, level: float = 0.95) -> Interval:
    """Returns a share with its Wilson interval, which also tells how little a share of none says of a few."""
    from scipy import stats

    if count == 0:
        return Interval(np.nan, np.nan, np.nan)
    bounds = stats.binomtest(int(hits), int(count)).proportion_ci(level, method="wilson")
    return Interval(hits / count, float(bounds.low), float(bounds.high))


def paired_test(
    first: Sequence[float], second: Sequence[float], *, resamples: int = _RESAMPLES, seed: int = 0
) -> PairedTest:
    """Compares two methods on the same cases; pairs with a value missing are left out.

    Args:
        first: one value per case.
        second: the other method's values of the same cases in the same order.
        resamples: number of permutations and bootstrap samples; all permutations where there are fewer.
        seed: for the resampling.

    Raises:
        ValueError: if the two differ in length.
    """
    from scipy import stats

    if len(first) != len(second):
        raise ValueError(f"pairs are needed, got {len(first)} and {len(second)} values")
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    differences = differences[np.isfinite(differences)]
    interval = bootstrap_interval(differences, resamples=resamples, seed=seed)
    if len(differences) < 2:
        return PairedTest(len(differences), interval, np.nan)
    if not differences.any():
        return PairedTest(len(differences), interval, 1.0)
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 10_000_000 // len(differences)),
        rng=np.random.default_rng(seed),
    )
    return PairedTest(len(differences), interval, float(test.pvalue))
