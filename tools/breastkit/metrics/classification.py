"""From a classifier's logits to a class: probabilities, uncertainty, the rule, and how rule and scale are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Names of classes mean something here: this is the one that must not be missed.
MALIGNANT = "malignant"


class OperatingPoint(NamedTuple):
    """The probability of malignant from which on a picture is suspicious, and what it reached where it was chosen."""

    threshold: float
    recall: float
    specificity: float


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Returns probabilities along the last axis."""
    shifted: NDArray[Any] = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def class_probabilities(logits: Any, temperature: float = 1.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the probabilities of every picture and how uncertain they are.

    Args:
        logits: logits ``(pictures, 1 + samples, classes)``, the first without dropout, as
            `breastkit.inference.ClassSampling` gives them.
        temperature: what logits are divided by.

    Returns:
        Probabilities ``(pictures, classes)`` of the first, and the entropy of the mean of the others (of the
        first where there is no other) over that of equal probabilities, 0 to 1.
    """
    probabilities = softmax(np.asarray(logits, dtype=np.float64) / temperature)
    mean = probabilities[:, 1:].mean(1) if probabilities.shape[1] > 1 else probabilities[:, 0]
    entropy = -(mean * np.log(np.clip(mean, 1e-12, None))).sum(-1)
    return probabilities[:, 0], np.clip(entropy / np.log(mean.shape[-1]), 0, 1)


def most_probable(probabilities: Mapping[str, float]) -> str:
    """Returns the class of a picture: the most probable one, whatever the operating point."""
    return max(probabilities, key=probabilities.__getitem__)


def suspicious(probabilities: NDArray[Any], classes: Sequence[str], threshold: float) -> NDArray[Any]:
    """Returns which pictures the operating point flags, although another class may be more probable.

    Args:
        probabilities: ``(pictures, classes)``.
        classes: their names in order, ``malignant`` among them.
        threshold: of the operating point, on the probability of malignant.
    """
    return np.asarray(np.asarray(probabilities)[:, list(classes).index(MALIGNANT)] >= threshold)


def auc(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Returns the area under the ROC curve: of the second of two classes, else the mean of one against the rest.

    NaN where a class has no picture or there is no other.
    """
    from sklearn.metrics import roc_auc_score

    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    count = probabilities.shape[1]
    chosen = [count - 1] if count == 2 else range(count)
    if any(len(np.unique(labels == index)) < 2 for index in chosen):
        return float("nan")
    return float(np.mean([roc_auc_score(labels == index, probabilities[:, index]) for index in chosen]))


def choose_operating_point(
    probability: NDArray[Any], is_malignant: NDArray[Any], *, recall: float = 0.95
) -> OperatingPoint:
    """Returns the highest threshold, and so the highest specificity, that still finds a share of the malignant ones.

    It lies in the middle between the last probability it lets in and the next one below.

    Args:
        probability: of malignant.
        is_malignant: the truth.
        recall: share of the malignant ones that must be found.
    """
    probability, truth = np.asarray(probability, dtype=float), np.asarray(is_malignant, dtype=bool)
    if not truth.any():
        return OperatingPoint(0.5, float("nan"), _share(probability[~truth] < 0.5))
    # Rounded up; a hair is taken off for shares such as 0.95 of 20, which is 19 and a rounding error.
    needed = max(1, int(np.ceil(recall * truth.sum() - 1e-9)))
    last = np.sort(probability[truth])[::-1][needed - 1]
    below = probability[probability < last]
    threshold = float((last + below.max()) / 2) if below.size else float(last) / 2
    found = probability >= threshold
    return OperatingPoint(threshold, _share(found[truth]), _share(~found[~truth]))


def _share(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
