"""Boxes as viewers take them: what MONAI Label's detection models answer with, and 3D Slicer's markups file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import write_json
from breastkit.dce.voxel_box import VoxelBox
from breastkit.detection.boxes_file import Detection

MARKUPS_SUFFIX = ".mrk.json"
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_LPS = np.diag([-1.0, -1.0, 1.0])


class PlacedBox(NamedTuple):
    """Where a box of voxels lies, in millimetres.

    Attributes:
        center: LPS.
        size: along the axes of the image.
        axes: directions of the image's axes as columns, LPS, turning to the right; a box looks alike from both sides.
    """

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    axes: NDArray[Any]


def placed(box: VoxelBox) -> PlacedBox:
    """Returns where a box of voxels lies as viewers take it."""
    axes = _LPS @ (box.grid.affine[:3, :3] / box.grid.spacing)
    if np.linalg.det(axes) < 0:
        axes = axes * [-1.0, 1.0, 1.0]
    return PlacedBox(_rounded(_LPS @ box.centre_mm), _rounded(box.size_mm), axes)


def box_answer(lesions: Sequence[Detection], *, label: str, number: int, sides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns boxes as MONAI's detection models answer with them: center and size in LPS millimetres, label and score.

    Args:
        lesions: the highest score first.
        label: what they show.
        number: of that label.
        sides: of the patient, one a lesion, empty where it is not plain; none where nobody looked.
    """
    places = [placed(lesion.box) for lesion in lesions]
    return {
        "box": [[*place.center, *place.size] for place in places],
        "label": [number] * len(lesions),
        "label_scores": [round(lesion.score, 4) for lesion in lesions],
        "lesions": [
            {"name": f"{label} {n}", "score": lesion.score, **lesion.box.bounds}
            for n, lesion in enumerate(lesions, start=1)
        ],
        "sides": list(sides),
    }


def write_markups(path: str | Path, lesions: Sequence[Detection], *, label: str) -> Path:
    """Writes boxes as regions of interest that 3D Slicer loads.

    Args:
        path: the file to write.
        lesions: the highest score first.
        label: what they show.
    """
    regions = [_region(number, lesion, label) for number, lesion in enumerate(lesions, 1)]
    return write_json(path, {"@schema": _SCHEMA, "markups": regions})


def _region(number: int, lesion: Detection, label: str) -> dict[str, Any]:
    center, size, axes = placed(lesion.box)
    orientation = [round(float(value), 9) for value in axes.reshape(-1)]
    name = f"{label} {number}"
    point = {
        "id": "1",
        "label": f"{name} ({lesion.score:.2f})",
        "position": list(center),
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
        "center": list(center),
        "orientation": orientation,
        "size": list(size),
        "insideOut": False,
        "label": {"value": label},
        "controlPoints": [point],
    }


def _rounded(values: NDArray[Any]) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 4) for value in values)
    return first, second, third
