"""What cannot be right in a study although every file of it can be read: each is a doubt, one sentence.

Limits stand well outside of what patients have: a doubt is meant to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from breastkit.dce.phases import DcePhases
from breastkit.dce.voxel_box import Grid

# Both breasts together, in millilitres.
_LEAST_ML, _MOST_ML = 200.0, 9000.0
# Edges of a voxel, and lengths of what is scanned, in millimetres.
_VOXEL_MM, _FIELD_MM = (0.2, 8.0), (60.0, 700.0)
_OBLIQUE_DEGREES = 20.0
# A slice whose brightest tissue has less than this share of the usual brightness shows nothing.
_DARK = 0.01
# The step between two slices that is so many times those before and behind it jumps over something.
_JUMP = 1.3
# Air has less than this share of the signal of bright tissue, above or below zero.
_OFFSET, _BELOW_ZERO = 0.2, 0.02
# Breasts hang into air: no side of what is scanned is darker than so much of the front.
_DARKER = 0.8
_EVERY = 4
# A breast that ends within what was scanned has less at these edges than so great a share of its largest section: in
# front there is air, and up and down it grows thin.
_CUT = {"in front": (1, 0, 0.02), "below": (0, 0, 0.6), "above": (0, -1, 0.6)}


def doubts_about(phases: DcePhases, breast: NDArray[np.bool_]) -> list[str]:
    """Returns what speaks against a study or against the breasts found in it.

    Args:
        phases: the study.
        breast: mask of the breasts on its own grid; may be empty.
    """
    checks = (
        _of_grid(phases.grid),
        _of_front(phases),
        _of_slices(phases),
        _of_contrast(phases, breast),
        _of_volume(phases, breast),
        _of_edges(phases, breast),
    )
    return [doubt for check in checks for doubt in check]


def counts_from_zero(phases: DcePhases) -> bool:
    """Tells whether no signal is 0, without which no change can be given as a share of the signal."""
    return all(_air_share(array) > -_BELOW_ZERO for array in phases.arrays)


def _air_share(array: NDArray[np.float32]) -> float:
    dark, bright = np.percentile(array[::_EVERY, ::_EVERY, ::_EVERY], (1, 99))
    return float(dark / max(abs(dark), abs(bright), 1e-6))


def _of_grid(grid: Grid) -> Iterator[str]:
    if np.allclose(grid.affine, np.eye(4)):
        yield "The header holds no position (an identity affine); sides, distances and volumes may all be wrong."
    axes = grid.affine[:3, :3] / np.maximum(np.linalg.norm(grid.affine[:3, :3], axis=0), 1e-12)
    angle = float(np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=0).min(), 0, 1))))
    if angle > _OBLIQUE_DEGREES:
        yield f"The slices are tilted by {angle:.0f} degrees; the networks know upright ones, so check the outlines."
    lengths = tuple(step * size for step, size in zip(grid.spacing, grid.shape, strict=True))
    if min(grid.spacing) < _VOXEL_MM[0] or max(grid.spacing) > _VOXEL_MM[1]:
        yield f"Voxels of {_times(grid.spacing)} mm are not those of breast MRI; check the header."
    elif min(lengths) < _FIELD_MM[0] or max(lengths) > _FIELD_MM[1]:
        yield f"A field of {_times(lengths)} mm is not that of breast MRI; check the voxel size in the header."


def _of_front(phases: DcePhases) -> Iterator[str]:
    # Not the outermost rows and columns, which scanners leave empty at times.
    scan = phases.arrays[0][:, ::_EVERY, ::_EVERY] - phases.arrays[0].min()
    if min(scan.shape[1:]) < 4:
        return
    front, *sides = (float(edge.mean()) for edge in (scan[:, 1], scan[:, :, 1], scan[:, :, -2]))
    if min(sides) < _DARKER * front:
        yield "Air lies beside the patient and not in front, as if she were turned by 90 degrees; check the header."


def _times(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths)


def _of_slices(phases: DcePhases) -> Iterator[str]:
    for path, array in zip(phases.paths, phases.arrays, strict=True):
        bright = np.percentile(array[:, ::_EVERY, ::_EVERY], 99, axis=(1, 2)) - array.min()
        shown = np.flatnonzero(bright > _DARK * np.median(bright))
        inside = int(shown[-1] - shown[0] + 1) if shown.size else 0
        if shown.size < inside:
            yield f"{inside - shown.size} slices of {path.name} between others show nothing; export the series again."
    first = phases.arrays[0]
    steps = np.array([np.abs(one - two).mean() for one, two in zip(first[1:], first[:-1], strict=True)])
    jumps = steps[1:-1] / np.maximum(np.maximum(steps[:-2], steps[2:]), 1e-6)
    if jumps.size and jumps.max() > _JUMP:
        number = int(jumps.argmax()) + 1
        yield f"Between slices {number} and {number + 1} from the feet (from 0) the anatomy jumps; are slices missing?"


def _of_contrast(phases: DcePhases, breast: NDArray[np.bool_]) -> Iterator[str]:
    pre, *posts = phases.arrays
    for number, post in enumerate(posts, start=1):
        if np.array_equal(pre, post):
            yield f"{phases.paths[number].name} is the phase before contrast once more; give the one after it."
    inside = phases.axial(breast) if breast.any() else np.ones(pre.shape, dtype=bool)
    change = float(posts[0][inside].mean(dtype=np.float64) - pre[inside].mean(dtype=np.float64))
    if change < 0:
        yield (
            f"The signal of the breasts falls from {phases.paths[0].name} to {phases.paths[1].name}, which should be "
            "after contrast; are the phases in the right order?"
        )
    if not counts_from_zero(phases):
        yield "Intensities below zero: changes cannot be given as a share of the signal; give the scan as it was made."
    elif _air_share(pre) > _OFFSET:
        yield "Air is not dark: if something was added to all intensities, changes come out too small."


def _of_volume(phases: DcePhases, breast: NDArray[np.bool_]) -> Iterator[str]:
    millilitres = float(np.count_nonzero(breast) * np.prod(phases.spacing) / 1000)
    if 0 < millilitres < _LEAST_ML or millilitres > _MOST_ML:
        yield (
            f"Breasts of {millilitres:.0f} ml together are not those of a patient; does the header tell position, "
            "orientation and voxel size right?"
        )


def _of_edges(phases: DcePhases, breast: NDArray[np.bool_]) -> Iterator[str]:
    inside = phases.axial(breast)
    for where, (axis, edge, share) in _CUT.items():
        sections = np.count_nonzero(inside, axis=tuple(other for other in range(3) if other != axis))
        if sections[edge] > share * max(1, int(sections.max())):
            yield f"The breasts are cut {where} by the edge of what was scanned; volumes and shares are of the rest."
