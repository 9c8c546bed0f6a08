"""The figures of a classifier, each with its interval over groups of pictures."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.metrics.classification import MALIGNANT
from breastkit.metrics.intervals import Interval

_RESAMPLES = 2000
_BINS = 10


def class_figures(
    probabilities: NDArray[Any],
    decided: NDArray[Any],
    labels: NDArray[Any],
    classes: Sequence[str],
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Returns accuracy, recall and so on with percentile bootstrap intervals over groups, such as cases.

    ``accuracy, balanced_accuracy, specificity`` (share of the others not called malignant), ``auc`` (of the second of
    two classes, else the mean of one against the rest), ``calibration_error`` (of the probability of malignant), and
    ``recall, precision, f1`` of every class, malignant first. A figure without a picture to tell it by is NaN.

    Args:
        probabilities: ``(pictures, classes)``.
        decided: index of the class decided for.
        labels: index of the true class.
        classes: their names in order.
        groups: which group each picture belongs to; groups are independent of each other, their pictures are not.
        level: confidence level.
        resamples: number of bootstrap samples.
        seed: for the resampling.
    """
    weights = group_weights(groups, resamples=resamples, seed=seed)
    arrays = np.asarray(probabilities, dtype=float), np.asarray(decided), np.asarray(labels), list(classes)
    observed = _figures(np.ones((1, len(weights[0]))), *arrays)
    drawn = _figures(weights, *arrays)
    tails = [(1 - level) / 2, (1 + level) / 2]
    enough = len(set(map(str, groups))) > 1
    return {
        name: Interval(float(value[0]), *(_quantiles(drawn[name], tails) if enough else (np.nan, np.nan)))
        for name, value in observed.items()
    }


def grouped_auc(
    scores: Sequence[float] | NDArray[Any],
    is_class: Sequence[bool] | NDArray[Any],
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Returns the area under one ROC curve with its percentile bootstrap interval over groups; see `class_figures`."""
    known, truth = np.asarray(scores, dtype=float), np.asarray(is_class, dtype=bool)
    if truth.all() or not truth.any():
        return Interval(np.nan, np.nan, np.nan)
    drawn = weighted_auc(group_weights(groups, resamples=resamples, seed=seed), known, truth)
    observed = weighted_auc(np.ones((1, len(known))), known, truth)
    return Interval(float(observed[0]), *_quantiles(drawn, [(1 - level) / 2, (1 + level) / 2]))


def group_weights(groups: Sequence[Hashable], *, resamples: int = _RESAMPLES, seed: int = 0) -> NDArray[Any]:
    """Returns how often every picture is in every bootstrap sample of groups, ``(resamples, pictures)``."""
    names, index = np.unique([str(group) for group in groups], return_inverse=True)
    share = np.full(len(names), 1 / len(names))
    return np.random.default_rng(seed).multinomial(len(names), share, size=resamples)[:, index].astype(float)


def weighted_auc(weights: NDArray[Any], scores: NDArray[Any], is_class: NDArray[Any]) -> NDArray[Any]:
    """Returns the area under the ROC curve for every row of weights of the pictures; NaN where a side is empty."""
    above, below = scores[is_class], scores[~is_class]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    won = ((weights[:, is_class] @ wins) * weights[:, ~is_class]).sum(1)
    return _ratio(won, weights[:, is_class].sum(1) * weights[:, ~is_class].sum(1))


def _figures(
    weights: NDArray[Any], probabilities: NDArray[Any], decided: NDArray[Any], labels: NDArray[Any], classes: list[str]
) -> dict[str, NDArray[Any]]:
    count = len(classes)
    cells = np.eye(count * count)[labels * count + decided]
    confusion = (weights @ cells).reshape(-1, count, count)
    true, called, hits = confusion.sum(2), confusion.sum(1), np.diagonal(confusion, axis1=1, axis2=2)
    recall, precision = _ratio(hits, true), _ratio(hits, called)
    f1 = _ratio(2 * hits, true + called)
    malignant = classes.index(MALIGNANT)
    others = true.sum(1) - true[:, malignant]
    aucs = [weighted_auc(weights, probabilities[:, k], labels == k) for k in range(count)]
    figures = {
        "accuracy": _ratio(hits.sum(1), true.sum(1)),
        "balanced_accuracy": recall.mean(1),
        "specificity": 1 - _ratio(called[:, malignant] - hits[:, malignant], others),
        "auc": aucs[-1] if count == 2 else np.mean(aucs, axis=0),
        "calibration_error": _calibration_errors(weights, probabilities[:, malignant], labels == malignant),
    }
    for k in sorted(range(count), key=lambda k: (k != malignant, k)):
        figures |= {f"recall_{classes[k]}": recall[:, k], f"precision_{classes[k]}": precision[:, k]}
        figures[f"f1_{classes[k]}"] = f1[:, k]
    if count > 2:
        figures["macro_f1"] = f1.mean(1)
    return figures


def _calibration_errors(weights: NDArray[Any], probability: NDArray[Any], is_class: NDArray[Any]) -> NDArray[Any]:
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    apart = np.eye(_BINS)[place] * (probability - is_class)[:, None]
    return _ratio(np.abs(weights @ apart).sum(1), weights.sum(1))


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _quantiles(values: NDArray[Any], tails: Sequence[float]) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, tails) if len(values) else (np.nan, np.nan)
    return float(low), float(high)
