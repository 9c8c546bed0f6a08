"""Boxes as viewers take them: what MONAI Label's detection models answer with, and 3D Slicer's markups file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.atomic import write_json

MARKUPS_SUFFIX = ".mrk.json"
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_AXES = ("col", "row", "slice")
_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Box:
    """A box around voxels, in millimetres.

    Attributes:
        score: how sure it is.
        center: LPS.
        size: along the axes of the image.
        axes: directions of the image's axes as columns, LPS, turning to the right; a box looks alike from both sides.
        voxels: bounds on the image's own grid, both ends included.
    """

    score: float
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    axes: np.ndarray
    voxels: Mapping[str, int]


def box_of(lesion: Mapping[str, Any], affine: np.ndarray) -> Box:
    """Returns the box of a lesion that a detector found.

    Args:
        lesion: bounds on the study's own grid, and a score.
        affine: of the grid, RAS+.
    """
    low, high = (np.array([int(lesion[f"{axis}_{end}"]) for axis in _AXES]) for end in ("min", "max"))
    center = _LPS @ (affine[:3, :3] @ ((low + high) / 2) + affine[:3, 3])
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    axes = _LPS @ (affine[:3, :3] / lengths)
    if np.linalg.det(axes) < 0:
        axes = axes * [-1.0, 1.0, 1.0]
    size = (high - low + 1) * lengths
    bounds = {f"{axis}_{end}": int(lesion[f"{axis}_{end}"]) for axis in _AXES for end in ("min", "max")}
    return Box(float(lesion["score"]), _rounded(center), _rounded(size), axes, bounds)


def boxes_told(boxes: Sequence[Box], *, label: str, number: int) -> dict[str, Any]:
    """Returns boxes as MONAI's detection models answer with them: center and size in LPS millimetres, label and score.

    Args:
        boxes: the highest score first.
        label: what they show.
        number: of that label.
    """
    return {
        "box": [[*box.center, *box.size] for box in boxes],
        "label": [number] * len(boxes),
        "label_scores": [round(box.score, 4) for box in boxes],
        "lesions": [{"name": f"{label} {n}", "score": box.score, **box.voxels} for n, box in enumerate(boxes, start=1)],
    }


def write_markups(path: str | Path, boxes: Sequence[Box], *, label: str) -> Path:
    """Writes boxes as regions of interest that 3D Slicer loads.

    Args:
        path: the file to write.
        boxes: the highest score first.
        label: what they show.
    """
    return write_json(path, {"@schema": _SCHEMA, "markups": [_region(n, box, label) for n, box in enumerate(boxes, 1)]})


def _region(number: int, box: Box, label: str) -> dict[str, Any]:
    orientation = [round(float(value), 9) for value in box.axes.reshape(-1)]
    name = f"{label} {number}"
    point = {
        "id": "1",
        "label": f"{name} ({box.score:.2f})",
        "position": list(box.center),
        "orientation": orientation,
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined",
    }
    return {
        "name": name,
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "roiType": "Box",
        "center": list(box.center),
        "orientation": orientation,
        "size": list(box.size),
        "insideOut": False,
        "label": {"value": label},
        "controlPoints": [point],
    }


def _rounded(values: np.ndarray) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 4) for value in values)
    return first, second, third
