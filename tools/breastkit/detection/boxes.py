"""From a detector's raw output to boxes, and how well boxes agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.metrics.froc import CaseFindings

Edges = Sequence[float] | NDArray[np.float64]
# Boxes of one slice that overlap more than this show one thing.
SAME = 0.45


def overlap(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Returns intersection over union of every box of one list with every box of another.

    Args:
        first: ``(N, 2 d)``: lower edges along d axes, then upper ones.
        second: ``(M, 2 d)``.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    axes = first.shape[-1] // 2
    low = np.maximum(first[:, None, :axes], second[None, :, :axes])
    high = np.minimum(first[:, None, axes:], second[None, :, axes:])
    common = (high - low).clip(0).prod(-1)
    sizes = [(boxes[:, axes:] - boxes[:, :axes]).clip(0).prod(-1) for boxes in (first, second)]
    shared: NDArray[np.float64] = common / np.maximum(sizes[0][:, None] + sizes[1][None] - common, 1e-9)
    return shared


def compared(
    scores: Sequence[float],
    candidates: Sequence[Edges],
    lesions: Sequence[Edges],
    *,
    hit: float,
    sizes: Sequence[float] = (),
) -> CaseFindings:
    """Gives every true lesion the best candidate that hits it; a candidate that hits none is a false one.

    Args:
        scores: of the candidates.
        candidates: their edges, as `overlap` takes them.
        lesions: likewise.
        hit: overlap from which on a lesion counts as found.
        sizes: of the lesions.
    """
    if not len(lesions) or not len(candidates):
        return CaseFindings(tuple(float("nan") for _ in lesions), tuple(scores), tuple(sizes))
    hits = overlap(np.array(candidates), np.array(lesions)) >= hit
    ranked = np.array(scores)
    best = [float(ranked[column].max()) if column.any() else float("nan") for column in hits.T]
    return CaseFindings(tuple(best), tuple(ranked[~hits.any(1)].tolist()), tuple(sizes))


def pick_boxes(output: NDArray[Any], *, lowest: float, same: float = SAME, most: int = 20) -> NDArray[Any]:
    """Returns the boxes of one slice, the best of those that overlap, highest score first.

    Args:
        output: ``(5, anchors)``, what the detector gives for the slice.
        lowest: scores under this are left out.
        same: overlap from which two boxes are one.
        most: at most so many.

    Returns:
        ``(N, 5)``: x0, y0, x1, y1 in pixels and the score.
    """
    centre, size, score = output[:2].T, output[2:4].T, output[4]
    chosen = np.flatnonzero(score >= lowest)
    chosen = chosen[np.argsort(-score[chosen], kind="stable")][: 10 * most]
    boxes = np.column_stack([centre - size / 2, centre + size / 2, score])[chosen].astype(np.float64)
    kept: list[NDArray[Any]] = []
    while len(boxes) and len(kept) < most:
        kept.append(boxes[0])
        boxes = boxes[1:][overlap(boxes[:1, :4], boxes[1:, :4])[0] < same]
    return np.array(kept).reshape(-1, 5)
