"""What is measured of a lesion in dynamic breast MRI: size and shape, where it lies, and how it takes up contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

from breastkit.metrics.segmentation import bounding_box

if TYPE_CHECKING:
    from breastkit.dce.correction import Motion
    from breastkit.dce.landmarks import ChestWall

SHAPE = ("volume_mm3", "longest_diameter_mm", "sphericity")
PLACE = ("distance_to_skin_mm", "distance_to_chest_wall_mm", "distance_to_nipple_mm")
MOTION = ("motion_mm",)
KINETICS = ("enhancement", "wash_in", "wash_out", "signal_enhancement_ratio", "kinetic_class")
# As UCUM writes them; 1 is the unit of ratios.
UNITS = dict.fromkeys((*SHAPE, *PLACE, *KINETICS, *MOTION), "1") | {
    "volume_mm3": "mm3",
    "longest_diameter_mm": "mm",
    "distance_to_skin_mm": "mm",
    "distance_to_chest_wall_mm": "mm",
    "distance_to_nipple_mm": "mm",
    "motion_mm": "mm",
}
# Share by which the signal must change after the first phase after contrast to count as a rise or a fall.
_STEADY = 0.1
# How far around a lesion skin is looked for first.
_REACH_MM = 16.0


def shape_features(mask: NDArray[Any], *, spacing: Sequence[float]) -> dict[str, float]:
    """Returns volume, longest diameter (between outer voxel corners) and sphericity, 1 for a ball, of a mask.

    Args:
        mask: not empty.
        spacing: edge lengths of a voxel in millimetres along its axes.
    """
    mask, steps = np.asarray(mask) > 0, np.asarray(spacing, dtype=float)
    inside = np.pad(mask[bounding_box(mask)], 1)
    volume = float(np.count_nonzero(inside) * steps.prod())
    vertices, faces, *_ = skimage.measure.marching_cubes(inside.astype(np.float32), 0.5, spacing=tuple(steps))
    area = float(skimage.measure.mesh_surface_area(vertices, faces))
    start, end = diameter_ends(mask, spacing=spacing)
    return {
        "volume_mm3": volume,
        "longest_diameter_mm": float(np.linalg.norm((end - start) * steps)),
        "sphericity": min(1.0, math.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / area),
    }


def diameter_ends(mask: NDArray[Any], *, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Returns the two outer corners of a mask's voxels or pixels that lie farthest apart, as indices.

    An index is whole in the middle of a voxel.

    Args:
        mask: not empty.
        spacing: edge lengths of a voxel in millimetres along its axes.
    """
    box = bounding_box(mask)
    corners = np.argwhere(np.asarray(mask)[box])[:, None, :] + np.array(list(np.ndindex((2,) * len(box))))
    points = np.unique(corners.reshape(-1, len(box)), axis=0)
    # Among all points the two farthest apart are corners of the hull, which are few.
    points = points[scipy.spatial.ConvexHull(points * np.asarray(spacing)).vertices]
    apart = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(points * np.asarray(spacing)))
    first, second = np.unravel_index(apart.argmax(), apart.shape)
    ends: NDArray[np.float64] = points[[first, second]] + np.array([part.start for part in box]) - 0.5
    return ends


def air_around(breast: NDArray[Any], scan: NDArray[Any]) -> NDArray[Any]:
    """Returns where there is air in front of the breasts and beside them.

    Both arrays are axial views [slice, row, column] whose rows run to the back. Air is dark, and lies no farther back
    than the breasts of the slice reach; what follows a breast's last row in a column is behind it.

    Args:
        breast: mask of the breasts.
        scan: before contrast.
    """
    tissue, scan = np.asarray(breast) > 0, np.asarray(scan)
    least = scan.min()
    dark = scan < least + (skimage.filters.threshold_otsu(scan[::2, ::2, ::2]) - least) / 2
    behind = tissue.any(axis=1, keepdims=True) & ~_or_farther_back(tissue)
    beside = _or_farther_back(tissue.any(axis=2, keepdims=True))
    air: NDArray[Any] = dark & ~tissue & ~behind & beside
    return air


def _or_farther_back(mask: NDArray[Any]) -> NDArray[Any]:
    """Returns where a mask is set in this row or in one behind it."""
    return np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]


def place_features(
    mask: NDArray[Any],
    air: NDArray[Any],
    wall: ChestWall | None,
    nipple: NDArray[Any] | None = None,
    *,
    spacing: Sequence[float],
) -> dict[str, float | None]:
    """Returns the shortest distances from a lesion to the air around the breasts, to the chest wall and to a nipple.

    None stands for what there is nowhere.

    Args:
        mask: of the lesion, not empty.
        air: see `air_around`.
        wall: behind the breasts.
        nipple: of the breast it lies in, in millimetres along slices, rows and columns.
        spacing: edge lengths of a voxel in millimetres along the axes.
    """
    window = bounding_box(mask)
    points = (np.argwhere(np.asarray(mask)[window] > 0) + [part.start for part in window]) * np.asarray(spacing)
    return {
        "distance_to_skin_mm": _distance_to(air, mask, spacing),
        "distance_to_chest_wall_mm": None if wall is None else wall.distance(points),
        "distance_to_nipple_mm": None if nipple is None else float(np.linalg.norm(points - nipple, axis=1).min()),
    }


def _distance_to(place: NDArray[Any], mask: NDArray[Any], spacing: Sequence[float]) -> float | None:
    """Returns how far the nearest voxel of a place is, in a box that grows until nothing nearer can lie outside."""
    box, reach = bounding_box(mask), _REACH_MM
    while True:
        window = _grown(box, reach, spacing, np.shape(mask))
        lesion = np.asarray(mask)[window] > 0
        there = place[window] & ~lesion
        far = scipy.ndimage.distance_transform_edt(~lesion, sampling=spacing)
        found = float(far[there].min()) if there.any() else None
        if lesion.shape == np.shape(mask) or (found is not None and found <= reach):
            return found
        reach *= 2


def _grown(box: Sequence[slice], reach: float, spacing: Sequence[float], shape: Sequence[int]) -> tuple[slice, ...]:
    """Returns a box with all voxels less than so many millimetres away from it, as far as there are any."""
    return tuple(
        slice(max(0, part.start - math.ceil(reach / step)), min(length, part.stop + math.ceil(reach / step)))
        for part, step, length in zip(box, spacing, shape, strict=True)
    )


def motion_features(mask: NDArray[Any], moved: Motion | None, *, spacing: Sequence[float]) -> dict[str, float | None]:
    """Returns how far the middle of a lesion had moved since the phase before contrast, None where nobody knows.

    Args:
        mask: of the lesion, not empty, on the axial view.
        moved: how that phase lay.
        spacing: edge lengths of a voxel in millimetres along the axes.
    """
    if moved is None:
        return {"motion_mm": None}
    middle = np.array([part.mean() for part in np.nonzero(mask)]) * spacing
    return {"motion_mm": float(np.linalg.norm(moved.of(middle[None])))}


def kinetic_features(
    mask: NDArray[Any], phases: Sequence[NDArray[Any]], *, shares: bool = True
) -> dict[str, float | str | None]:
    """Returns how the mean signal of a lesion runs over the phases, and what kind of curve that is.

    `enhancement` is the change of every phase after contrast, as a share of the signal before it; `wash_in` the first
    of these. `wash_out` is the fall from the first to the last phase after contrast, as a share of the first;
    `signal_enhancement_ratio` the first change over the last. The class is persistent where the signal goes on rising
    by more than 10 %, washout where it falls by more, else plateau. With a single phase after contrast there is none.

    Args:
        mask: of the lesion, not empty.
        phases: before contrast first, on the mask's grid.
        shares: whether intensities count from no signal. Where they do not, or the lesion has none before contrast,
            what is a share of the signal stays empty; the ratio of changes is not one.
    """
    inside = np.asarray(mask) > 0
    before, *after = (float(phase[inside].mean(dtype=np.float64)) for phase in phases)
    curve: dict[str, float | str | None] = dict.fromkeys(KINETICS)
    curve |= {"enhancement": "", "kinetic_class": ""}
    if len(after) > 1 and abs(after[-1] - before) > 1e-6:
        curve["signal_enhancement_ratio"] = (after[0] - before) / (after[-1] - before)
    if not shares or min(before, after[0]) <= 0:
        return curve
    changes = [value / before - 1 for value in after]
    curve |= {"enhancement": " ".join(f"{change:.3f}" for change in changes), "wash_in": changes[0]}
    if len(after) > 1:
        change = after[-1] / after[0] - 1
        curve["wash_out"] = -change
        curve["kinetic_class"] = "persistent" if change > _STEADY else "washout" if change < -_STEADY else "plateau"
    return curve
