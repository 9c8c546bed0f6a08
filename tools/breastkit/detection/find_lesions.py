"""From a study to its lesion candidates on the study's own grid, and the file that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from breastkit.atomic import write_json
from breastkit.dce.phases import BOUNDS, DEFAULT_CHANNELS, AxialBox, DcePhases, lesion_slices, mask_slices
from breastkit.detection.candidates import Candidate, find_candidates
from breastkit.metrics.segmentation import bounding_box
from breastkit.transforms.crop_to_box import in_steps
from breastkit.transforms.letterbox import Letterbox

Lesion = dict[str, Any]
# So far beyond the breasts is looked at, in slices and millimetres and in pixels: a mask may end too early.
_BEYOND, _BEYOND_MM, _BEYOND_PIXELS = 3, 5.0, 12


def detect_lesions(
    phases: DcePhases,
    predict: Callable[[torch.Tensor], torch.Tensor],
    *,
    image_size: int = 224,
    channels: str = DEFAULT_CHANNELS,
    score: float = 0.25,
    most: int | None = None,
    breast: np.ndarray | None = None,
) -> list[Lesion]:
    """Returns the lesion candidates of a study, highest score first, as `write_boxes` writes them.

    Args:
        phases: the study.
        predict: takes a volume ``(1, 3, size, size, slices)`` and gives ``(1, 5, anchors, slices)``.
        image_size: side of the squares the detector was trained on.
        channels: what it was trained on; see `breastkit.dce.phases.channel_volume`.
        score: candidates of lower scores are left out.
        most: at most so many.
        breast: a mask on the study's own grid. Where it holds something only the box around it is looked at, and
            candidates that do not touch it are left out.
    """
    slices, rows, columns = part_around(breast, phases, image_size)
    squares, box = lesion_slices(phases, image_size, channels, only=range(slices.start, slices.stop))
    image = torch.from_numpy(squares[:, rows, columns]).permute(3, 1, 2, 0)[None].float() / 255
    with torch.no_grad():
        output = predict(image)[0].permute(2, 0, 1).float().cpu().numpy()
    # The middles of boxes, across and down.
    output = output + np.array([columns.start, rows.start, 0, 0, 0], np.float32)[:, None]
    found = lesions_on_grid(find_candidates(output, score=score), box, phases)
    return (found if breast is None else lesions_in_breast(found, breast))[:most]


def part_around(breast: np.ndarray | None, phases: DcePhases, image_size: int) -> tuple[slice, slice, slice]:
    """Returns the part of a study that the detector looks at: slices, and rows and columns of their squares.

    Args:
        breast: a mask on the study's own grid; where there is none, or it is empty, the part is the whole.
        phases: the study.
        image_size: side of the squares.
    """
    count = len(phases.arrays[0])
    inside = np.zeros(0) if breast is None else mask_slices(phases.axial(np.asarray(breast) > 0), image_size)
    if not inside.any():
        return slice(0, count), slice(0, image_size), slice(0, image_size)
    slices, *across = bounding_box(inside)
    beyond = max(_BEYOND, round(_BEYOND_MM / phases.spacing[0]))
    rows, columns = (in_steps(part.start - _BEYOND_PIXELS, part.stop + _BEYOND_PIXELS, image_size) for part in across)
    return slice(max(0, slices.start - beyond), min(count, slices.stop + beyond)), rows, columns


def lesions_in_breast(lesions: Sequence[Mapping[str, Any]], breast: np.ndarray) -> list[Lesion]:
    """Leaves out lesions none of whose boxes reaches into a breast; where there is no breast all stay.

    Args:
        lesions: as `write_boxes` writes them.
        breast: a mask on the study's own grid.
    """
    breast = np.asarray(breast) > 0
    if not breast.any():
        return list(lesions)
    return [lesion for lesion in lesions if any(breast[_window(box)].any() for box in bounds_of(lesion))]


def bounds_of(lesion: Mapping[str, Any]) -> list[dict[str, int]]:
    """Returns the bounds of a lesion's boxes on the study's own grid, slice by slice where its file tells them so."""
    boxes = lesion.get("boxes") or [lesion]
    told = [{**box, "slice_min": box["slice"], "slice_max": box["slice"]} if "slice" in box else box for box in boxes]
    return [{name: int(bounds[name]) for name in BOUNDS} for bounds in told]


def _window(bounds: Mapping[str, int]) -> tuple[slice, slice, slice]:
    return tuple(slice(bounds[low], bounds[high] + 1) for low, high in zip(BOUNDS[::2], BOUNDS[1::2], strict=True))


def lesions_on_grid(candidates: Sequence[Candidate], box: Letterbox, phases: DcePhases) -> list[Lesion]:
    """Returns candidates in the voxels of the study's own grid.

    Args:
        candidates: in slices and pixels of the squares.
        box: where the slices lie in their squares.
        phases: the study, whose arrays are not looked at.
    """
    lesions = []
    for candidate in candidates:
        z0, y0, x0, z1, y1, x1 = candidate.bounds
        whole = _voxels(int(z0), int(z1) - 1, (x0, y0, x1, y1), box)
        boxes = []
        for number, (*edges, score) in zip(candidate.slices, candidate.boxes, strict=True):
            own = phases.own_box(_voxels(number, number, edges, box))
            boxes.append({"slice": own["slice_min"], **own, "score": round(float(score), 4)})
        lesions.append({"score": round(candidate.score, 4), **phases.own_box(whole), "boxes": boxes})
    return lesions


def _voxels(first: int, last: int, edges: Sequence[float], box: Letterbox) -> AxialBox:
    """Returns the voxels that a box of a square covers: those whose middle lies in it, at least one along each axis."""
    x0, y0, x1, y1 = edges
    # The middle of a square's first pixel is 0, its outer edge -0.5; the same holds for voxels.
    (left, top, *_), (right, bottom, *_) = (box.affine @ [y - 0.5, x - 0.5, 0, 1] for y, x in ((y0, x0), (y1, x1)))
    bounds = []
    for low, high, length in ((top, bottom, box.rows), (left, right, box.columns)):
        start = min(max(round(low + 0.5), 0), length - 1)
        bounds += [start, max(start, min(round(high - 0.5), length - 1))]
    return (first, last, *bounds)


def write_boxes(path: str | Path, study: str | Path, shape: Sequence[int], lesions: Sequence[Lesion]) -> Path:
    """Writes the lesion candidates of a study, and returns the path.

    Bounds count from 0 and include both ends, along the axes of the study's own grid, which are called column, row and
    slice; for DICOM the slices are in the order of InstanceNumber.

    Args:
        path: the file to write.
        study: what they were found in.
        shape: of its grid.
        lesions: see `detect_lesions`.
    """
    return write_json(path, {"file": str(study), "shape": [int(size) for size in shape], "lesions": list(lesions)})
