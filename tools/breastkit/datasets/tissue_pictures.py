"""Pictures that show what preparing a scan did to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.pictures import grid, overlay, to_gray8

PERCENTILES = (10, 25, 50, 75, 90)


def orientation_picture(volume: NDArray[Any], *, spacing: Sequence[float], flipped: Sequence[int] = ()) -> NDArray[Any]:
    """Returns a grid of sagittal, coronal and axial slices, as the header has it above, as it is now below.

    Sagittal slices show the front on the left, coronal and axial ones the patient's right on the left; the head is up,
    and axial slices have the back up, as networks see them.

    Args:
        volume: (column, row, slice) in the canonical frame.
        spacing: of its axes, in millimetres.
        flipped: axes that were flipped against the header's word.
    """
    low, high = np.percentile(volume[::3, ::3, ::2], (0.5, 99.5))
    rows = []
    for shown in (np.flip(volume, flipped) if flipped else volume, volume):
        for axis in range(3):
            planes = (shown.take(int(p / 100 * (shown.shape[axis] - 1)), axis=axis) for p in PERCENTILES)
            window = ((np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8) for plane in planes)
            rows.append([_upright(plane, axis, spacing) for plane in window])
    views = ("sagittal", "coronal", "axial")
    titles = [f"{view}, {when}" for when in ("by header", "now") for view in views]
    return grid(rows, tile=168, row_titles=titles, column_titles=[f"{p} %" for p in PERCENTILES])


def _upright(plane: NDArray[Any], axis: int, spacing: Sequence[float]) -> NDArray[Any]:
    across, along = (spacing[n] for n in range(3) if n != axis)
    if axis == 0:
        picture = plane[::-1].T[::-1]
    elif axis == 1:
        picture = plane.T[::-1]
    else:
        picture = plane.T
    scale = min(across, along)
    size = (max(1, round(picture.shape[1] * across / scale)), max(1, round(picture.shape[0] * along / scale)))
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_LINEAR)


def alignment_picture(scan: NDArray[Any], mask: NDArray[Any], alignment: Mapping[str, Any]) -> NDArray[Any]:
    """Returns the slice of the largest mask with the mask as delivered, after the first and after the second rule.

    Args:
        scan: (column, row, slice) in the canonical frame.
        mask: as delivered, in the same frame.
        alignment: the decision `breastkit.transforms.AlignMaskd` recorded.
    """
    number = alignment["slice"]
    picture = to_gray8(scan[..., number]).T
    raw = mask[..., number].T
    upright = raw[::-1] if alignment["upside_down"] else raw
    aligned = upright[:, ::-1] if alignment["mirrored"] else upright
    titles = [
        "raw",
        f"(a) upright: {'flipped' if alignment['upside_down'] else 'kept'}",
        f"(b) left-right: {'flipped' if alignment['mirrored'] else 'kept'}",
    ]
    tiles = [overlay(picture, outlined) for outlined in (raw, upright, aligned)]
    return grid([tiles], tile=280, column_titles=titles)
