"""How well a binary mask agrees with the truth, in two dimensions or three.

Where both masks are empty they agree: Dice and IoU are 1, distances 0. Where one of them is, Dice and IoU are 0 and the
distance, which does not exist, is the diagonal of the image, so that a miss is never left out of a mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def dice(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Returns twice the overlap over the sum of both sizes."""
    prediction, truth = _pair(prediction, truth)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(prediction & truth)) / total if total else 1.0


def iou(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Returns the overlap over the union."""
    prediction, truth = _pair(prediction, truth)
    union = int(np.count_nonzero(prediction | truth))
    return int(np.count_nonzero(prediction & truth)) / union if union else 1.0


def hd95(prediction: NDArray[Any], truth: NDArray[Any], *, spacing: Sequence[float] | None = None) -> float:
    """Returns the larger of the two 95th percentiles of the distances from one border to the other.

    Args:
        prediction: a mask.
        truth: a mask of the same shape.
        spacing: edge lengths of a voxel along the axes, in whose unit the distance is; 1 by default.
    """
    prediction, truth = _pair(prediction, truth)
    steps = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    if not prediction.any() and not truth.any():
        return 0.0
    if not prediction.any() or not truth.any():
        return float(np.linalg.norm(steps * truth.shape))
    import torch
    from monai.metrics import compute_hausdorff_distance

    box = bounding_box(prediction | truth)
    # A margin, because a border at the edge of the crop would not be seen as one.
    found, true = (torch.from_numpy(np.pad(mask[box], 1)[None, None]) for mask in (prediction, truth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"include_background": True, "percentile": 95, "spacing": steps.tolist()}
        distance = compute_hausdorff_distance(found, true, **options)
    return float(distance)


def volume_error_ml(prediction: NDArray[Any], truth: NDArray[Any], *, spacing: Sequence[float]) -> float:
    """Returns the predicted volume minus the true one in millilitres; negative where too little was found."""
    prediction, truth = _pair(prediction, truth)
    difference = int(np.count_nonzero(prediction)) - int(np.count_nonzero(truth))
    return difference * float(np.prod(spacing)) / 1000


def segmentation_metrics(
    prediction: NDArray[Any], truth: NDArray[Any], *, spacing: Sequence[float]
) -> dict[str, float]:
    """Returns what is told of a volume: ``dice, iou, hd95_mm, volume_error_ml``.

    Args:
        prediction: the mask that was found.
        truth: the true mask on the same grid.
        spacing: edge lengths of a voxel in millimetres.

    Raises:
        ValueError: if the masks differ in shape.
    """
    return {
        "dice": dice(prediction, truth),
        "iou": iou(prediction, truth),
        "hd95_mm": hd95(prediction, truth, spacing=spacing),
        "volume_error_ml": volume_error_ml(prediction, truth, spacing=spacing),
    }


def slice_metrics(prediction: NDArray[Any], truth: NDArray[Any], *, axis: int) -> list[dict[str, float]]:
    """Returns for every slice along an axis its number from 0, both areas in pixels, Dice and IoU.

    Raises:
        ValueError: if the masks differ in shape.
    """
    prediction, truth = _pair(prediction, truth)
    others = tuple(number for number in range(truth.ndim) if number != axis)
    found, true = np.count_nonzero(prediction, axis=others), np.count_nonzero(truth, axis=others)
    overlap = np.count_nonzero(prediction & truth, axis=others)
    union = found + true - overlap
    dices = np.divide(2 * overlap, found + true, out=np.ones(len(true)), where=union > 0)
    ious = np.divide(overlap, union, out=np.ones(len(true)), where=union > 0)
    return [
        {"slice": k, "truth_pixels": int(t), "prediction_pixels": int(p), "dice": float(d), "iou": float(i)}
        for k, (t, p, d, i) in enumerate(zip(true, found, dices, ious, strict=True))
    ]


def _pair(prediction: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of one shape are needed, got {prediction.shape} and {truth.shape}")
    return prediction > 0, truth > 0


def bounding_box(mask: NDArray[Any]) -> tuple[slice, ...]:
    """Returns the smallest box around a mask that is not empty, as an index."""
    bounds = []
    for axis in range(mask.ndim):
        others = tuple(number for number in range(mask.ndim) if number != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        bounds.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(bounds)
