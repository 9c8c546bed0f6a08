"""What is put right in the phases of a study before they are compared: motion between them, shading of the coils."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.dce.phases import DcePhases

# Both look at voxels of about this many millimetres: motion and shading are smooth, and the rest is time.
_COARSE_MM = 4.0
_FINE_MM = 2.5
# Movement larger than this is no movement of a patient in a coil but a registration gone astray.
_FARTHEST_MM = 40.0
# Less movement than this share of a voxel is not worth resampling for.
_NEGLIGIBLE = 0.1
# More samples than these take longer and tell the same.
_MI_BINS, _MI_SAMPLES = 32, 10_000
_SHADING_ITERATIONS = (30, 20, 10)


@dataclass(frozen=True)
class Motion:
    """How a phase lies against the one before contrast.

    Attributes:
        rotation_degrees: about the three axes.
        translation_mm: of the centre, along columns, rows and slices of the axial view.
    """

    rotation_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)


def correct_phases(phases: DcePhases, *, register: bool = False, shading: bool = False) -> DcePhases:
    """Returns the phases with motion and shading taken out.

    Args:
        phases: the study.
        register: whether to move the phases after contrast onto the one before it: rigidly, by mutual information,
            which contrast arriving does not disturb.
        shading: whether to divide all phases by the shading of the one before contrast (N4).
    """
    arrays = list(phases.arrays)
    if register:
        arrays[1:] = [registered(arrays[0], moved, phases.spacing)[0] for moved in arrays[1:]]
    if shading:
        field = shading_of(arrays[0], phases.spacing)
        arrays = [array / field for array in arrays]
    return replace(phases, arrays=arrays)


def registered(fixed: NDArray[Any], moving: NDArray[Any], spacing: Sequence[float]) -> tuple[NDArray[Any], Motion]:
    """Returns a phase moved onto another one, and how far it had moved; unchanged where that is next to nothing.

    Args:
        fixed: [slice, row, column].
        moving: on the same grid.
        spacing: of slices, rows and columns in millimetres.
    """
    import itk

    transform = _start(fixed.shape, spacing)
    for coarse in (_COARSE_MM, _FINE_MM):
        _align(transform, *(_image(_shrunk(array, spacing, coarse), spacing, array.shape) for array in (fixed, moving)))
    motion = Motion(
        tuple(np.degrees([transform.GetAngleX(), transform.GetAngleY(), transform.GetAngleZ()]).round(3).tolist()),
        tuple(np.round(list(transform.GetTranslation()), 3).tolist()),
    )
    farthest = _farthest(transform, fixed.shape, spacing)
    if farthest > _FARTHEST_MM or farthest < _NEGLIGIBLE * min(spacing):
        return moving, Motion()
    image = _image(np.ascontiguousarray(moving, dtype=np.float32), spacing, moving.shape)
    resampled = itk.resample_image_filter(
        image,
        transform=transform,
        interpolator=itk.BSplineInterpolateImageFunction[type(image), itk.D, itk.F].New(),
        use_reference_image=True,
        reference_image=image,
        default_pixel_value=float(moving.min()),
    )
    # Splines overshoot at edges.
    return np.clip(itk.array_from_image(resampled), moving.min(), moving.max()), motion


def _start(shape: Sequence[int], spacing: Sequence[float]) -> Any:
    import itk

    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetCenter([(size - 1) * step / 2 for size, step in zip(shape[::-1], spacing[::-1], strict=True)])
    return transform


def _align(transform: Any, fixed: Any, moving: Any) -> None:
    """Moves a transform to where two images share most information."""
    import itk

    kind = type(fixed)
    metric = itk.MattesMutualInformationImageToImageMetricv4[kind, kind].New(NumberOfHistogramBins=_MI_BINS)
    optimizer = itk.RegularStepGradientDescentOptimizerv4[itk.D].New(
        LearningRate=1.0, MinimumStepLength=0.02, NumberOfIterations=50, RelaxationFactor=0.5
    )
    scales = itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New(Metric=metric)
    optimizer.SetScalesEstimator(scales)
    method = itk.ImageRegistrationMethodv4[kind, kind].New(
        FixedImage=fixed, MovingImage=moving, Metric=metric, Optimizer=optimizer, InitialTransform=transform
    )
    method.InPlaceOn()
    method.SetNumberOfLevels(1)
    method.SetShrinkFactorsPerLevel([1])
    method.SetSmoothingSigmasPerLevel([0])
    method.SetMetricSamplingStrategy(itk.ImageRegistrationMethodv4Enums.MetricSamplingStrategy_REGULAR)
    method.SetMetricSamplingPercentage(min(1.0, _MI_SAMPLES / np.prod(itk.size(fixed))))
    method.MetricSamplingReinitializeSeed(0)
    method.Update()


def _farthest(transform: Any, shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Returns how far the corner moves that moves farthest, in millimetres."""
    ends = [(0.0, (size - 1) * step) for size, step in zip(shape[::-1], spacing[::-1], strict=True)]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
    moved = np.array([list(transform.TransformPoint(list(map(float, corner)))) for corner in corners])
    return float(np.linalg.norm(moved - corners, axis=1).max())


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
    planes = [cv2.resize(plane, (size[2], size[1]), interpolation=cv2.INTER_AREA) for plane in array.astype(np.float32)]
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
