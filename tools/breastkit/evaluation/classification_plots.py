"""Plots of what a classifier's probabilities are worth, in the look of the pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from breastkit.metrics import auc, reliability_bins
from breastkit.metrics.decision_curve import net_benefit, shifted_prevalence
from breastkit.report.page import SERIES, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (4.6, 3.8)


def roc_curves(probabilities: NDArray[Any], truth: Sequence[str], classes: Sequence[str]) -> Figure:
    """Draws recall against the share of false alarms for every class, with the area under each."""
    drawing, axes = figure(*_SIZE)
    for colour, (name, scores, is_class) in zip(SERIES, _told_apart(probabilities, truth, classes), strict=False):
        wrong, found, _ = roc_curve(is_class, scores)
        area = auc(np.stack([1 - scores, scores], axis=1), is_class.astype(int))
        axes.plot(wrong, found, color=colour, label=f"{name}, area {area:.3f}")
    axes.plot([0, 1], [0, 1], color="#b8c0ca", linestyle=":")
    axes.set(xlabel="false alarms among the others", ylabel="recall", xlim=(0, 1), ylim=(0, 1.01))
    _name_curves(axes, "lower right")
    return drawing


def precision_recall_curves(probabilities: NDArray[Any], truth: Sequence[str], classes: Sequence[str]) -> Figure:
    """Draws precision against recall for every class."""
    drawing, axes = figure(*_SIZE)
    for colour, (name, scores, is_class) in zip(SERIES, _told_apart(probabilities, truth, classes), strict=False):
        precision, recall, _ = precision_recall_curve(is_class, scores)
        axes.plot(recall, precision, color=colour, label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))
    _name_curves(axes, "lower left")
    return drawing


def reliability(probability: NDArray[Any], is_class: NDArray[Any]) -> Figure:
    """Draws the share that is of the class against its probability; the diagonal is perfect."""
    drawing, axes = figure(*_SIZE)
    bins = reliability_bins(probability, is_class)
    axes.plot([0, 1], [0, 1], color="#b8c0ca", linestyle=":")
    axes.plot([one.probability for one in bins], [one.share for one in bins], color=SERIES[0])
    sizes = [20 + 200 * one.count / len(probability) for one in bins]
    axes.scatter([one.probability for one in bins], [one.share for one in bins], s=sizes, color=SERIES[0])
    axes.set(xlabel="probability of malignant", ylabel="share that is malignant", xlim=(0, 1), ylim=(0, 1.01))
    return drawing


def accuracy_by_coverage(correct: NDArray[Any], uncertainty: NDArray[Any]) -> Figure:
    """Draws the accuracy of the most certain pictures against the share of pictures they are."""
    drawing, axes = figure(*_SIZE)
    order = np.argsort(uncertainty, kind="stable")
    answered = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(np.asarray(correct)[order]) / answered
    # Of a handful of pictures the accuracy says nothing.
    shown = answered >= min(20, len(order))
    axes.plot(answered[shown] / len(order), accuracy[shown], color=SERIES[0])
    axes.set(xlabel="share of pictures answered", ylabel="accuracy of the answers", xlim=(0, 1))
    return drawing


def decision_curve(probability: NDArray[Any], is_class: NDArray[Any], *, prevalence: float) -> Figure | None:
    """Draws the net benefit of acting on the probability against that of acting on all or none; None for one class."""
    if is_class.all() or not is_class.any():
        return None
    drawing, axes = figure(*_SIZE)
    thresholds = np.linspace(0.01, 0.6, 60)
    shifted = shifted_prevalence(probability, before=float(is_class.mean()), after=prevalence)
    benefit = net_benefit(shifted, is_class, thresholds, prevalence=prevalence)
    everyone = prevalence - (1 - prevalence) * thresholds / (1 - thresholds)
    axes.plot(thresholds, benefit, color=SERIES[0], label="by the classifier")
    axes.plot(thresholds, everyone, color=SERIES[1], label="act on all")
    axes.axhline(0, color=SERIES[2], label="act on none")
    axes.set(xlabel="probability from which one would act", ylabel="net benefit", xlim=(0, 0.6))
    axes.set_ylim(-0.05, prevalence * 1.1)
    axes.legend(frameon=False)
    return drawing


def _name_curves(axes: Axes, place: Literal["lower left", "lower right"]) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc=place)
    else:
        axes.text(0.5, 0.5, "pictures of one class alone", ha="center", va="center", color="#5b6470")


def _told_apart(
    probabilities: NDArray[Any], truth: Sequence[str], classes: Sequence[str]
) -> Iterator[tuple[str, NDArray[Any], NDArray[np.bool_]]]:
    """Yields name, scores and truth of every class there are pictures of, of two classes the second alone."""
    true_class = np.asarray(truth)
    for index, name in list(enumerate(classes))[::-1][: 1 if len(classes) == 2 else None]:
        is_class: NDArray[np.bool_] = true_class == name
        if 0 < is_class.sum() < len(is_class):
            yield name, probabilities[:, index], is_class
