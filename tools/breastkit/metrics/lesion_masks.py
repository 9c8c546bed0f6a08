"""How well lesions are outlined in a volume: by patient, by lesion, by slice, and what is found in empty slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from breastkit.metrics.segmentation import dice, hd95, iou


def patient_metrics(prediction: NDArray[Any], truth: NDArray[Any], *, spacing: Sequence[float]) -> dict[str, float]:
    """Returns what is told of a whole patient: ``dice, iou, precision, recall, hd95_mm, false_positive_voxels``.

    Where nothing was found, precision is 0 if there was something to find and 1 if not.

    Args:
        prediction: the mask that was found.
        truth: the true mask on the same grid.
        spacing: edge lengths of a voxel in millimetres.
    """
    prediction, truth = np.asarray(prediction) > 0, np.asarray(truth) > 0
    both, found, true = (int(np.count_nonzero(mask)) for mask in (prediction & truth, prediction, truth))
    return {
        "dice": dice(prediction, truth),
        "iou": iou(prediction, truth),
        "precision": both / found if found else float(not true),
        "recall": both / true if true else 1.0,
        "hd95_mm": hd95(prediction, truth, spacing=spacing),
        "false_positive_voxels": found - both,
    }


def lesion_rows(prediction: NDArray[Any], truth: NDArray[Any]) -> list[dict[str, float]]:
    """Returns number, voxels, whether it was touched, Dice, IoU and recall of every true lesion, a connected piece.

    A lesion is compared with the predicted pieces that touch it, without what of them lies in other lesions.
    """
    lesions = cc3d.connected_components(np.ascontiguousarray(np.asarray(truth) > 0), connectivity=26)
    pieces = cc3d.connected_components(np.ascontiguousarray(np.asarray(prediction) > 0), connectivity=26)
    rows = []
    for number in range(1, int(lesions.max()) + 1):
        lesion = lesions == number
        touching = np.unique(pieces[lesion])
        found = np.isin(pieces, touching[touching > 0]) & (lesion | (lesions == 0))
        row = {"lesion": number, "voxels": int(np.count_nonzero(lesion)), "found": bool(found.any())}
        recall = np.count_nonzero(found & lesion) / row["voxels"]
        rows.append({**row, "dice": dice(found, lesion), "iou": iou(found, lesion), "recall": float(recall)})
    return rows


def slice_rows(prediction: NDArray[Any], truth: NDArray[Any]) -> list[dict[str, float]]:
    """Returns for every slice, the first axis, the voxels of both masks, Dice, IoU, precision and recall.

    Where both are empty all four are 1; where one is, they are 0.
    """
    prediction, truth = np.asarray(prediction) > 0, np.asarray(truth) > 0
    found, true, both = (np.count_nonzero(mask, axis=(1, 2)) for mask in (prediction, truth, prediction & truth))
    empty = found + true == 0

    def share(part: NDArray[Any], of: NDArray[Any]) -> NDArray[Any]:
        return np.divide(part, of, out=empty.astype(float), where=of > 0)

    figures = {
        "dice": share(2 * both, found + true),
        "iou": share(both, found + true - both),
        "precision": share(both, found),
        "recall": share(both, true),
    }
    return [
        {"slice": k, "truth_voxels": int(true[k]), "prediction_voxels": int(found[k])}
        | {name: float(values[k]) for name, values in figures.items()}
        for k in range(len(true))
    ]
