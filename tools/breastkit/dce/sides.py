"""Which breast is which, by the plane between them in the patient; nothing is said where that plane is not plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from breastkit.dce.voxel_box import Grid
from breastkit.dicom.derived_objects import Side

# Width of the strips in which tissue is counted from right to left, and what they are smoothed by, in millimetres.
_STRIP_MM = 4.0
_SMOOTH_MM = 8.0
# Two breasts: each has this share of the tissue at least, their thickest places lie this far apart, and between them
# there is at most this share of what the thinner one has.
_SHARE = 0.2
_APART_MM = 80.0
_VALLEY = 0.5
# A lesion as close to the plane as this has no side, nor one of which more than a few voxels lie beyond it.
_NEAR_MM = 10.0
_BEYOND = 0.05


def midline_mm(breast: NDArray[Any], grid: Grid) -> float | None:
    """Returns where the plane between both breasts lies, from left to right in RAS+ millimetres.

    None where there are not plainly two: one breast was scanned or outlined, or they run into one another.

    Args:
        breast: mask of the breasts.
        grid: that it lies on.
    """
    places = _left_to_right(breast, grid)
    if not places.size:
        return None
    first = float(places.min())
    strips = np.bincount(((places - first) / _STRIP_MM).astype(int)).astype(float)
    profile = scipy.ndimage.gaussian_filter1d(strips, _SMOOTH_MM / _STRIP_MM, mode="constant")
    below = np.cumsum(strips) / strips.sum()
    inner = np.flatnonzero((below >= _SHARE) & (below <= 1 - _SHARE))
    if not inner.size:
        return None
    lowest = inner[profile[inner] <= profile[inner].min() * 1.001 + 1e-9]
    valley = int(lowest[len(lowest) // 2])
    one, other = int(profile[: valley + 1].argmax()), valley + int(profile[valley:].argmax())
    thinner = min(profile[one], profile[other])
    if (other - one) * _STRIP_MM < _APART_MM or profile[valley] > _VALLEY * thinner:
        return None
    return first + (valley + 0.5) * _STRIP_MM


def side_of(mask: NDArray[Any], grid: Grid, midline: float | None) -> Side | None:
    """Returns the side of the patient that a mask lies on, None where it is not plain.

    Args:
        mask: of a lesion.
        grid: that it lies on.
        midline: see `midline_mm`.
    """
    places = _left_to_right(mask, grid)
    if midline is None or not places.size or abs(float(places.mean()) - midline) < _NEAR_MM:
        return None
    right = float((places > midline).mean())
    if _BEYOND < right < 1 - _BEYOND:
        return None
    return Side.RIGHT if right > 0.5 else Side.LEFT


def on_side(mask: NDArray[Any], grid: Grid, midline: float, side: Side) -> NDArray[np.bool_]:
    """Returns the part of a mask that lies on one side of the plane between the breasts.

    Args:
        mask: of the breasts.
        grid: that it lies on.
        midline: see `midline_mm`.
        side: of the patient.
    """
    part = np.asarray(mask) > 0
    first, *steps = grid.affine[0, :3]
    rows, columns = (step * np.arange(size) for step, size in zip(steps, part.shape[1:], strict=True))
    # Plane by plane, which needs no list of all voxels.
    plane = grid.affine[0, 3] + rows[:, None] + columns
    for number, inside in enumerate(part):
        right = plane + number * first > midline
        inside &= right if side is Side.RIGHT else ~right
    return part


def breasts_by_side(breast: NDArray[Any], grid: Grid, midline: float | None) -> dict[Side | None, NDArray[Any]]:
    """Returns the mask of each breast by its side; where it is not plain which is which, both are one without a side.

    Args:
        breast: mask of the breasts.
        grid: that it lies on.
        midline: see `midline_mm`.
    """
    if midline is None or not np.any(breast):
        return {None: breast}
    return {side: on_side(breast, grid, midline, side) for side in Side}


def _left_to_right(mask: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Returns where the voxels of a mask lie in the patient, growing to the right as RAS+ does."""
    where = np.nonzero(np.asarray(mask) > 0)
    places: NDArray[np.float64] = grid.affine[0, :3] @ np.array(where) + grid.affine[0, 3]
    return places
