"""From a study to its lesion candidates on the study's own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.dce.phases import DEFAULT_CHANNELS, DcePhases, lesion_slices, mask_slices
from breastkit.dce.voxel_box import Grid, VoxelBox
from breastkit.detection.boxes_file import Detection
from breastkit.detection.candidates import Candidate, find_candidates
from breastkit.metrics.segmentation import bounding_box
from breastkit.transforms.crop_to_box import in_steps
from breastkit.transforms.letterbox import Letterbox

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
    breast: NDArray[Any] | None = None,
) -> list[Detection]:
    """Returns the lesion candidates of a study, highest score first.

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
    found = lesions_on_grid(find_candidates(output, score=score), box, phases.grid)
    return (found if breast is None else lesions_in_breast(found, breast))[:most]


def part_around(breast: NDArray[Any] | None, phases: DcePhases, image_size: int) -> tuple[slice, slice, slice]:
    """Returns the part of a study that the detector looks at: slices, and rows and columns of their squares.

    Args:
        breast: a mask on the study's own grid; where there is none, or it is empty, the part is the whole.
        phases: the study.
        image_size: side of the squares.
    """
    count = len(phases.arrays[0])
    everything = slice(0, count), slice(0, image_size), slice(0, image_size)
    if breast is None:
        return everything
    inside = mask_slices(phases.axial(np.asarray(breast) > 0), phases.grid.letterbox(image_size))
    if not inside.any():
        return everything
    slices, *across = bounding_box(inside)
    beyond = max(_BEYOND, round(_BEYOND_MM / phases.spacing[0]))
    rows, columns = (in_steps(part.start - _BEYOND_PIXELS, part.stop + _BEYOND_PIXELS, image_size) for part in across)
    return slice(max(0, slices.start - beyond), min(count, slices.stop + beyond)), rows, columns


def lesions_in_breast(lesions: Sequence[Detection], breast: NDArray[Any]) -> list[Detection]:
    """Leaves out lesions none of whose boxes reaches into a breast; where there is no breast all stay.

    Args:
        lesions: on a study's own grid.
        breast: a mask on it.
    """
    breast = np.asarray(breast) > 0
    if not breast.any():
        return list(lesions)
    return [lesion for lesion in lesions if any(breast[box.window].any() for box in lesion.boxes)]


def lesions_on_grid(candidates: Sequence[Candidate], box: Letterbox, grid: Grid) -> list[Detection]:
    """Returns candidates in the voxels of a study's own grid.

    Args:
        candidates: in slices and pixels of the squares.
        box: where the slices lie in their squares.
        grid: of the study.
    """
    lesions = []
    for candidate in candidates:
        z0, y0, x0, z1, y1, x1 = candidate.edges
        whole = _voxels(int(z0), int(z1) - 1, (x0, y0, x1, y1), box, grid)
        parts = [
            Detection(round(float(score), 4), _voxels(number, number, edges, box, grid))
            for number, (*edges, score) in zip(candidate.slices, candidate.boxes, strict=True)
        ]
        lesions.append(Detection(round(candidate.score, 4), whole, tuple(parts)))
    return lesions


def _voxels(first: int, last: int, edges: Sequence[float], box: Letterbox, grid: Grid) -> VoxelBox:
    """Returns the voxels that a box of a square covers: those whose middle lies in it, at least one along each axis."""
    x0, y0, x1, y1 = edges
    # The middle of a square's first pixel is 0, its outer edge -0.5; the same holds for voxels.
    (left, top, *_), (right, bottom, *_) = (box.affine @ [y - 0.5, x - 0.5, 0, 1] for y, x in ((y0, x0), (y1, x1)))
    ends = []
    for low, high, length in ((top, bottom, box.rows), (left, right, box.columns)):
        start = min(max(round(low + 0.5), 0), length - 1)
        ends.append((start, max(start, min(round(high - 0.5), length - 1))))
    (row_min, row_max), (col_min, col_max) = ends
    return VoxelBox((first, row_min, col_min), (last, row_max, col_max), grid.axial).on(grid)
