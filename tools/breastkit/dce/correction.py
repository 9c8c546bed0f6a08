"""What is put right in the phases of a study before they are compared: motion between them, shading of the coils."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from monai.losses import GlobalMutualInformationLoss
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from breastkit.dce.phases import DcePhases

# The first phase after contrast: lesions show in it and are outlined on it, so the others are held against it.
REFERENCE = 1
# Motion within the breasts above which phases are moved unasked, in millimetres: about a voxel.
MOVED_MM = 1.0
# What is looked at for motion is first coarse, then finer: motion is smooth, and the rest is time.
_LEVELS_MM = (4.0, 2.5, 1.5)
# Shading is smoother still.
_COARSE_MM = 4.0
# So many voxels at most are compared; more take longer and tell the same.
_SAMPLES = 10_000
_BINS, _ITERATIONS = 32, 15
# Angles count as the millimetres they move what lies so far from the middle, so that all six numbers are of one size.
_LEVER_MM = 100.0
# Movement larger than this is no movement of a patient in a coil but a registration gone astray.
_FARTHEST_MM = 40.0
# Less movement than this share of a voxel is not worth resampling for.
_NEGLIGIBLE = 0.1
_SHADING_ITERATIONS = (30, 20, 10)


@dataclass(frozen=True)
class Motion:
    """How a phase lies against another one: where its patient is once she has moved.

    Attributes:
        matrix: 4 x 4; takes a point of the other phase to the same point of the patient in this one, in millimetres
            along slices, rows and columns from the middle of the first voxel.
        mean_mm: how far the patient moved, on average over what was looked at.
    """

    matrix: NDArray[np.float64]
    mean_mm: float

    @property
    def degrees(self) -> float:
        """By how much the patient turned."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.matrix[:3, :3]) - 1) / 2, -1, 1))))

    def of(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Returns how far points moved along slices, rows and columns, in millimetres.

        Args:
            points: (number, 3), as `matrix` counts them.
        """
        moved: NDArray[np.float64] = points @ self.matrix[:3, :3].T + self.matrix[:3, 3] - points
        return moved


def correct_phases(phases: DcePhases, *, register: bool = False, shading: bool = False) -> DcePhases:
    """Returns the phases with motion and shading taken out.

    Args:
        phases: the study.
        register: whether to move all phases onto the first one after contrast, on which lesions are outlined.
        shading: whether to divide all phases by the shading of the one before contrast (N4).
    """
    if register:
        phases = without_motion(phases, motions_of(phases), above=0.0)
    if not shading:
        return phases
    field = shading_of(phases.arrays[0], phases.spacing)
    return replace(phases, arrays=[array / field for array in phases.arrays])


def motions_of(phases: DcePhases, breast: NDArray[Any] | None = None) -> tuple[Motion | None, ...]:
    """Returns how every phase lies against the first one after contrast; None where that cannot be told.

    Args:
        phases: the study.
        breast: mask of the breasts on its own grid. Heart and chest move by themselves, so within it alone is looked;
            where there is none, or it is empty, at the whole body.
    """
    fixed = phases.arrays[REFERENCE]
    inside = phases.axial(breast) if breast is not None and breast.any() else fixed > _air_below(fixed)
    return tuple(
        Motion(np.eye(4), 0.0) if number == REFERENCE else motion_between(fixed, moving, inside, phases.spacing)
        for number, moving in enumerate(phases.arrays)
    )


def without_motion(phases: DcePhases, motions: Sequence[Motion | None], *, above: float = MOVED_MM) -> DcePhases:
    """Returns the phases, those moved back that had moved.

    Args:
        phases: the study.
        motions: of every phase, see `motions_of`.
        above: less motion than so many millimetres is left.
    """
    arrays = [
        moved_back(array, motion, phases.spacing) if motion is not None and motion.mean_mm > above else array
        for array, motion in zip(phases.arrays, motions, strict=True)
    ]
    return replace(phases, arrays=arrays)


def motion_between(
    fixed: NDArray[Any], moving: NDArray[Any], inside: NDArray[Any], spacing: Sequence[float]
) -> Motion | None:
    """Returns how a phase lies against another one, rigidly, by mutual information, which contrast does not disturb.

    Args:
        fixed: [slice, row, column].
        moving: on the same grid.
        inside: mask of what is looked at, on the same grid.
        spacing: of slices, rows and columns in millimetres.

    Returns:
        The motion, None where there is nothing to look at or it would be larger than any patient's.
    """
    numbers = torch.zeros(6, dtype=torch.float32, requires_grad=True)
    middle = torch.from_numpy(_middle_of(inside, spacing))
    points = np.empty((0, 3))
    for coarse in _LEVELS_MM:
        pair = _Pair.of(fixed, moving, inside, spacing, coarse)
        if pair is None:
            return None
        _align(numbers, middle, pair)
        points = pair.points.double().numpy()
    matrix = _matrix_of(numbers.detach(), middle).double().numpy()
    moved = np.linalg.norm(Motion(matrix, 0.0).of(points), axis=1)
    return Motion(matrix, float(moved.mean())) if moved.max() <= _FARTHEST_MM else None


def moved_back(moving: NDArray[Any], motion: Motion, spacing: Sequence[float]) -> NDArray[Any]:
    """Returns a phase moved onto the one that its motion counts from; itself where that is next to nothing.

    Args:
        moving: [slice, row, column].
        motion: see `motion_between`.
        spacing: of slices, rows and columns in millimetres.
    """
    if motion.mean_mm < _NEGLIGIBLE * min(spacing):
        return moving
    steps = np.diag([*spacing, 1.0])
    voxels = np.linalg.inv(steps) @ motion.matrix @ steps
    # First within slices, then between them: cubic interpolation in three dimensions would take ten times as long.
    back = _between_slices(_within_slices(moving, voxels), voxels[0])
    return np.clip(back, moving.min(), moving.max(), out=back)


def _within_slices(volume: NDArray[Any], voxels: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns a volume whose rows and columns are where a 4 x 4 matrix of voxels takes them, slice by slice."""
    # Slices stay where they are, so what the matrix says of a slice holds for the one it comes from.
    from_slice = voxels[1:3, :1] / voxels[0, 0]
    plane = voxels[1:3, 1:3] - from_slice * voxels[0, 1:3]
    shift = voxels[1:3, 3] - from_slice[:, 0] * voxels[0, 3]
    moved = np.empty(volume.shape, np.float32)
    for number, (source, target) in enumerate(zip(volume, moved, strict=True)):
        rows_columns = np.column_stack([plane, shift + from_slice[:, 0] * number])
        target[:] = _warped(source, rows_columns[::-1, [1, 0, 2]])
    return moved


def _between_slices(volume: NDArray[np.float32], slices: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns a volume whose slices are where a row of a matrix of voxels takes them, row by row, in its place."""
    along, by_row, by_column, shift = slices
    for number in range(volume.shape[1]):
        plane = np.ascontiguousarray(volume[:, number])
        volume[:, number] = _warped(plane, np.array([[1, 0, 0], [by_column, along, by_row * number + shift]]))
    return volume


def _warped(image: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[Any]:
    """Returns an image whose pixel (column, row) is taken from where a 2 x 3 matrix takes it."""
    source = np.ascontiguousarray(image, dtype=np.float32)
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(source, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class _Pair:
    """Two phases made coarse: voxels of one, and the other as a volume to look them up in.

    Attributes:
        points: (number, 3) in millimetres.
        values: of the one phase there, from 0 to 1.
        volume: of the other, [1, 1, slice, row, column], from 0 to 1.
        first: its outer corner in millimetres.
        lengths: of its sides in millimetres.
    """

    points: torch.Tensor
    values: torch.Tensor
    volume: torch.Tensor
    first: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def of(
        cls,
        fixed: NDArray[Any],
        moving: NDArray[Any],
        inside: NDArray[Any],
        spacing: Sequence[float],
        coarse: float,
    ) -> _Pair | None:
        small, other, mask = (_shrunk(array, spacing, coarse) for array in (fixed, moving, inside))
        places = np.argwhere(mask > 0.5)
        if len(places) < 2:
            return None
        places = places[:: max(1, len(places) // _SAMPLES)]
        lengths = np.array(fixed.shape) * spacing
        first = -np.array(spacing) / 2
        points = (places + 0.5) * lengths / small.shape + first
        values, volume = (_from_0_to_1(array, mask > 0.5) for array in (small, other))
        return cls(
            torch.from_numpy(points).float(),
            torch.from_numpy(values[tuple(places.T)])[None],
            torch.from_numpy(volume)[None, None],
            torch.from_numpy(first).float(),
            torch.from_numpy(lengths).float(),
        )

    def at(self, points: torch.Tensor) -> torch.Tensor:
        """Returns the values of the other phase at points."""
        places = ((points - self.first) / self.lengths * 2 - 1).flip(-1)
        found = grid_sample(self.volume, places[None, None, None], align_corners=False, padding_mode="border")
        return found.reshape(1, -1)


def _align(numbers: torch.Tensor, middle: torch.Tensor, pair: _Pair) -> None:
    """Changes three turns and three shifts to where two phases share most information."""
    shared = GlobalMutualInformationLoss(num_bins=_BINS)
    optimizer = torch.optim.LBFGS([numbers], max_iter=_ITERATIONS, line_search_fn="strong_wolfe", tolerance_change=1e-5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        matrix = _matrix_of(numbers, middle)
        loss: torch.Tensor = shared(pair.at(pair.points @ matrix[:3, :3].T + matrix[:3, 3]), pair.values)
        loss.backward()
        return loss

    optimizer.step(closure)


def _matrix_of(numbers: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
    """Returns turns about a point and shifts as a matrix."""
    about_0, about_1, about_2 = numbers[:3] / _LEVER_MM
    none = torch.zeros(())
    skew = torch.stack([none, -about_2, about_1, about_2, none, -about_0, -about_1, about_0, none]).reshape(3, 3)
    turn = torch.linalg.matrix_exp(skew)
    shift = middle + numbers[3:] - turn @ middle
    return torch.cat([torch.cat([turn, shift[:, None]], dim=1), torch.eye(4)[3:]])


def _middle_of(inside: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Returns the middle of a mask in millimetres."""
    counts = [np.count_nonzero(inside, axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    return np.array(
        [
            step * float(np.arange(len(count)) @ count) / max(1, int(count.sum()))
            for count, step in zip(counts, spacing, strict=True)
        ],
        dtype=np.float32,
    )


def _from_0_to_1(array: NDArray[Any], inside: NDArray[Any]) -> NDArray[np.float32]:
    low, high = np.percentile(array[inside], (0.5, 99.5))
    scaled: NDArray[np.float32] = np.clip((array - low) / max(high - low, 1e-6), 0, 1, dtype=np.float32)
    return scaled


def shading_of(scan: NDArray[Any], spacing: Sequence[float]) -> NDArray[Any]:
    """Returns the shading of a scan by N4, about 1, of the same shape.

    Args:
        scan: [slice, row, column].
        spacing: of slices, rows and columns in millimetres.
    """
    import itk

    small = _shrunk(scan, spacing, _COARSE_MM)
    # N4 works on logarithms of what is inside the body.
    small = small - small.min() + 1.0
    body = (small > _air_below(small)).astype(np.uint8)
    image, mask = (_image(array, spacing, scan.shape) for array in (small.astype(np.float32), body))
    n4 = itk.N4BiasFieldCorrectionImageFilter.New(Input=image, MaskImage=mask)
    n4.SetNumberOfFittingLevels([len(_SHADING_ITERATIONS)] * 3)
    n4.SetMaximumNumberOfIterations(list(_SHADING_ITERATIONS))
    n4.Update()
    field = small / np.maximum(itk.array_from_image(n4.GetOutput()), 1e-6)
    return _grown(field / np.exp(np.log(field[body > 0]).mean()), scan.shape)


def _air_below(scan: NDArray[Any]) -> float:
    """Returns the threshold between air and body."""
    low, high = np.percentile(scan, (0, 99))
    scaled = np.clip((scan - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(scaled.reshape(1, -1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    # Otsu parts fat from the rest where fat is bright; half of it parts the body from air.
    return float(low + threshold / 2 / 255 * (high - low))


def _shrunk(array: NDArray[Any], spacing: Sequence[float], coarse: float) -> NDArray[Any]:
    factors = [max(1, round(coarse / step)) for step in spacing]
    size = [max(1, length // factor) for length, factor in zip(array.shape, factors, strict=True)]
    planes = [cv2.resize(plane.astype(np.float32), (size[2], size[1]), interpolation=cv2.INTER_AREA) for plane in array]
    stack = np.stack(planes)
    flat = stack.reshape(len(stack), -1)
    return np.reshape(cv2.resize(flat, (flat.shape[1], size[0]), interpolation=cv2.INTER_AREA), size)


def _grown(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    planes = [cv2.resize(plane, (shape[2], shape[1]), interpolation=cv2.INTER_LINEAR) for plane in array]
    flat = np.stack(planes).reshape(len(planes), -1)
    return np.reshape(cv2.resize(flat, (flat.shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), shape)


def _image(array: NDArray[Any], spacing: Sequence[float], shape: Sequence[int]) -> Any:
    """Returns an array that covers a grid of a shape as an ITK image, in the millimetres of that grid."""
    import itk

    image = itk.image_from_array(np.ascontiguousarray(array))
    steps = [full * step / size for full, step, size in zip(shape, spacing, array.shape, strict=True)]
    image.SetSpacing(steps[::-1])
    # The first of several voxels in one lies half of their extent inside.
    image.SetOrigin([(new - old) / 2 for new, old in zip(steps[::-1], spacing[::-1], strict=True)])
    return image
