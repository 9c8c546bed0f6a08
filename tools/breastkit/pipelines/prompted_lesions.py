"""Lesions of a dynamic MRI study outlined where somebody points at them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from breastkit.dce.phases import DcePhases
from breastkit.dce.voxel_box import Grid, Index, VoxelBox
from breastkit.detection.boxes_file import Detection
from breastkit.opened_bundle import OpenedBundle
from breastkit.pipelines.mri_outlines import outline_lesions

# Millimetres: how far from a click a lesion may reach, how blurred it is looked for, how far off a click may be, and
# how much around a click goes when it removes.
_REACH, _BLUR, _OFF, _CUT = 30.0, 1.0, 2.0, 4.0
# Answers that are kept of each study.
_ANSWERS = 32
# A lesion is what enhances at least so much of what is clicked on; more is asked where that runs out of reach.
_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class StudyPrompts:
    """What was pointed at in a study, in voxels of its own grid.

    Attributes:
        add: points in lesions.
        remove: points that belong to none.
        box: around a lesion.
    """

    add: tuple[Index, ...] = ()
    remove: tuple[Index, ...] = ()
    box: VoxelBox | None = None


class PromptedStudy:
    """A study in which somebody points at lesions; what one prompt has outlined is kept for the next.

    A click becomes a box around what enhances as strongly as what is clicked on and hangs together with it; the
    segmenter outlines what is in the box. Where it sees nothing, what enhances stands for its answer. A click that
    removes takes away the piece it lies in, or its surroundings where that piece was pointed at as well.

    Args:
        phases: the study.
        segmenter: of regions, opened.
    """

    def __init__(self, phases: DcePhases, segmenter: OpenedBundle) -> None:
        self.phases, self.segmenter = phases, segmenter
        self._known: OrderedDict[Index | VoxelBox, NDArray[np.uint8]] = OrderedDict()

    def outlined(self, prompts: StudyPrompts) -> NDArray[np.bool_]:
        """Returns the lesions that were pointed at, on the study's own grid."""
        mask = np.zeros(self.phases.shape, bool)
        pointed: list[Index | VoxelBox] = [*prompts.add, *([prompts.box] if prompts.box else [])]
        for prompt in pointed:
            mask |= self._answer(prompt)
        return _without(mask, prompts, self.phases.grid)

    def _answer(self, prompt: Index | VoxelBox) -> NDArray[np.bool_]:
        if prompt not in self._known:
            if isinstance(prompt, VoxelBox):
                found = lesions_in(prompt, self.phases, self.segmenter)
            else:
                found = lesion_at(prompt, self.phases, self.segmenter)
            self._known[prompt] = np.packbits(found)
        while len(self._known) > _ANSWERS:
            self._known.popitem(last=False)
        shape = self.phases.shape
        return np.unpackbits(self._known[prompt], count=math.prod(shape)).astype(bool).reshape(shape)


def lesions_in(box: VoxelBox, phases: DcePhases, bundle: OpenedBundle) -> NDArray[np.bool_]:
    """Returns what is outlined in a box, on the study's own grid."""
    mask = np.zeros(phases.shape, bool)
    for lesion in outline_lesions([Detection(1.0, box)], phases, bundle):
        mask[box.window] |= lesion.mask[box.window]
    return mask


def lesion_at(point: Index, phases: DcePhases, bundle: OpenedBundle) -> NDArray[np.bool_]:
    """Returns the lesion that a point lies in, on the study's own grid."""
    grown = enhancing_at(point, phases)
    candidate = Detection(1.0, VoxelBox.around(grown, phases.grid))
    found = np.zeros(phases.shape, bool)
    for lesion in outline_lesions([candidate], phases, bundle):
        found |= lesion.mask
    pieces = cc3d.connected_components(found, connectivity=26)
    here = np.unique(pieces[_ball(point, phases.grid, _OFF) & found])
    return np.isin(pieces, here[here > 0]) if here.any() else grown


def enhancing_at(point: Index, phases: DcePhases) -> NDArray[np.bool_]:
    """Returns what hangs together with a point and enhances as strongly, on the study's own grid."""
    middle = VoxelBox(point, point, phases.grid).on(phases.grid.axial).low
    spacing = np.array(phases.spacing)
    window = tuple(
        slice(max(0, at - reach), at + reach + 1)
        for at, reach in zip(middle, np.ceil(_REACH / spacing).astype(int), strict=True)
    )
    before, after = (phase[window] for phase in phases.arrays[:2])
    rise = gaussian_filter(after - before, _BLUR / spacing)
    at = tuple(int(one - part.start) for one, part in zip(middle, window, strict=True))
    distance = _distances(at, rise.shape, spacing)
    near = np.where(distance <= _OFF, rise, -np.inf)
    strongest = np.unravel_index(int(near.argmax()), near.shape)
    region = np.zeros(rise.shape, bool)
    for share in _SHARES:
        pieces = cc3d.connected_components(rise >= share * max(float(rise[strongest]), 1e-6), connectivity=6)
        region = (pieces == pieces[strongest]) & (pieces > 0)
        if not region.any() or float(distance[region].max()) < _REACH - max(spacing):
            break
    else:
        region &= distance <= _REACH / 3
    region[at] = True
    whole = np.zeros(phases.arrays[0].shape, bool)
    whole[window] = region
    return phases.restore(whole)


def _without(mask: NDArray[np.bool_], prompts: StudyPrompts, grid: Grid) -> NDArray[np.bool_]:
    """Returns a mask on a study's own grid without what somebody wants removed."""
    for point in prompts.remove:
        pieces = cc3d.connected_components(mask, connectivity=26)
        piece = int(pieces[point])
        if piece and piece not in {int(pieces[other]) for other in prompts.add}:
            mask = mask & (pieces != piece)
        else:
            mask = mask & ~_ball(point, grid, min(_CUT, _nearest(point, prompts.add, grid) / 2))
    return mask


def _nearest(point: Index, others: Sequence[Index], grid: Grid) -> float:
    away = [np.linalg.norm((np.array(point) - other) * grid.spacing) for other in others]
    return float(min(away, default=np.inf))


def _ball(point: Index, grid: Grid, radius: float) -> NDArray[np.bool_]:
    ball: NDArray[np.bool_] = _distances(point, grid.shape, np.array(grid.spacing)) <= radius
    return ball


def _distances(point: Sequence[int], shape: Sequence[int], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = [(np.arange(length) - at) ** 2 * step**2 for at, length, step in zip(point, shape, spacing, strict=True)]
    distances: NDArray[np.float64] = np.sqrt(axes[0][:, None, None] + axes[1][:, None] + axes[2])
    return distances
