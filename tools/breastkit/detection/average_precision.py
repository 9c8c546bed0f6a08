"""Average precision of boxes, as COCO counts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from numpy.typing import NDArray

from breastkit.detection.boxes import overlap, pick_boxes

OVERLAPS = tuple(np.round(np.arange(0.5, 1.0, 0.05), 2))
_RECALLS = np.linspace(0, 1, 101)


def match_boxes(found: NDArray[Any], truth: NDArray[Any], overlaps: Sequence[float] = OVERLAPS) -> NDArray[Any]:
    """Tells which of a slice's boxes find a true one, each true one at most once, best score first.

    Args:
        found: ``(N, 5)``, highest score first.
        truth: ``(M, 4)``.
        overlaps: intersection over union needed.

    Returns:
        Booleans ``(N, overlaps)``.
    """
    hits = np.zeros((len(found), len(overlaps)), bool)
    if not len(found) or not len(truth):
        return hits
    shared = overlap(found[:, :4], truth)
    for column, needed in enumerate(overlaps):
        free = np.ones(len(truth), bool)
        for row, each in enumerate(shared):
            best = int(np.where(free, each, -1).argmax())
            if free[best] and each[best] >= needed:
                hits[row, column], free[best] = True, False
    return hits


def average_precision(scores: NDArray[Any], hits: NDArray[Any], truths: int) -> float:
    """Returns the area under the curve of precision over recall, precision taken at 101 recalls.

    Args:
        scores: of all boxes of all slices.
        hits: which of them find a true box.
        truths: how many true boxes there are; without any the answer is NaN.
    """
    if not truths:
        return float("nan")
    right = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    recall, precision = right / truths, right / np.arange(1, len(right) + 1)
    # The best precision that is reached at this recall or a higher one.
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(highest[np.searchsorted(recall, _RECALLS, side="left")].mean())


class AveragePrecision(Metric):
    """Average precision at an overlap of one half over all slices of a validation.

    Args:
        lowest: boxes of lower scores are not looked at.
    """

    def __init__(self, *, lowest: float = 0.01) -> None:
        self.lowest = lowest
        super().__init__()

    def reset(self) -> None:
        """Forgets all boxes."""
        self.scores: list[NDArray[Any]] = []
        self.hits: list[NDArray[Any]] = []
        self.truths = 0

    def iteration_completed(self, engine: Engine) -> None:
        """Looks at the batch of an engine whose output is not decollated."""
        output: Any = engine.state.output
        self.update((output["pred"], output["label"]))

    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Looks at a batch: ``(B, 5, anchors)`` and boxes ``(B, N, 4)``."""
        predicted, boxes = (np.asarray(tensor.detach().float().cpu()) for tensor in output)
        for each, padded in zip(predicted, boxes, strict=True):
            truth = padded[(padded[:, 2:] > padded[:, :2]).all(1)]
            found = pick_boxes(each, lowest=self.lowest)
            self.scores.append(found[:, 4])
            self.hits.append(match_boxes(found, truth, (0.5,))[:, 0])
            self.truths += len(truth)

    def compute(self) -> float:
        """Returns the figure; 0 where there is no box to be found."""
        figure = average_precision(np.concatenate(self.scores), np.concatenate(self.hits), self.truths)
        return 0.0 if np.isnan(figure) else figure
