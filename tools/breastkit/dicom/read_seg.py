"""DICOM segmentations in: each segment as a mask on the grid of the images it belongs to.

A segmentation need not lie as its source does: it holds the slices with something in them only, in any order, often
flipped, sometimes on a grid of its own. Every slice is therefore placed by its own position, and what does not belong
to the source or reaches out of it is refused: a label in the wrong place is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from scipy import ndimage

from breastkit.dicom.pixel_budget import encoded_frames, refuse_too_many
from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.dicom.read_series import Series, _read, _vector, is_dicom
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.source_images import SourceImages, read_source_images
from breastkit.errors import BreastkitError

_EXPORT_AGAIN = "export it again"
# Slices further than this share of their distance from an even spacing are not one stack.
_SPACING_TOLERANCE = 0.1


@dataclass(frozen=True)
class ReadSegment:
    """One segment on the grid of its source.

    Attributes:
        number: SegmentNumber.
        label: SegmentLabel.
        kind: what it shows, None if its codes are none of ours.
        type: the segmented property type.
        algorithm: name of what made it, empty for a mask drawn by a person.
        version: of the algorithm.
        mask: uint8 of 0 and 1, or float32 from 0 to 1 where the object is fractional; [column, row, slice] as
            `read_series` gives the volume, (rows, columns) of a picture, (frames, rows, columns) of a clip.
    """

    number: int
    label: str
    kind: SegmentKind | None
    type: Code
    algorithm: str
    version: str
    mask: NDArray[Any]


def is_segmentation(path: str | Path) -> bool:
    """Tells whether a file is a DICOM segmentation.

    Raises:
        BreastkitError: if it is a DICOM file that cannot be read.
    """
    if not is_dicom(path):
        return False
    try:
        return str(_read(Path(path), specific_tags=["Modality"]).get("Modality")) == "SEG"
    except READ_ERRORS as error:
        raise BreastkitError(f"{path} is damaged and cannot be read; {_EXPORT_AGAIN}.") from error


def outlined_series(path: str | Path) -> list[str]:
    """Returns the identifiers of the series that a segmentation refers to.

    Raises:
        BreastkitError: if the file is damaged or no segmentation.
    """
    path = Path(path)
    try:
        return [str(series.SeriesInstanceUID) for series in _dataset(path).get("ReferencedSeriesSequence", [])]
    except READ_ERRORS as error:
        raise BreastkitError(f"{path} lacks parts that a segmentation must have; {_EXPORT_AGAIN}.") from error


def count_values(path: str | Path) -> int:
    """Returns how many values the frames of a segmentation have by its header, without decoding them.

    Raises:
        BreastkitError: if the file is damaged or no segmentation.
    """
    path = Path(path)
    try:
        dataset = _dataset(path)
        return int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    except READ_ERRORS as error:
        raise BreastkitError(f"{path} lacks parts that a segmentation must have; {_EXPORT_AGAIN}.") from error


def read_segmentation(path: str | Path, source: str | Path | Series | SourceImages) -> tuple[ReadSegment, ...]:
    """Reads a segmentation onto the grid of its source.

    Args:
        path: the segmentation.
        source: the images it belongs to, as for `write_segmentation`.

    Raises:
        BreastkitError: if the file is damaged or no segmentation, or belongs to other images, or if any of it lies
            outside of them.
    """
    path = Path(path)
    images = source if isinstance(source, SourceImages) else read_source_images(source)
    try:
        dataset = _dataset(path)
        _check_belongs(dataset, images, path)
        pixels = _pixels(dataset, path)
        if images.is_volume:
            masks = {number: _onto_volume(dataset, pixels, number, images, path) for number in _numbers(dataset)}
        else:
            masks = {number: _onto_picture(dataset, pixels, number, images, path) for number in _numbers(dataset)}
        return tuple(_describe(item, masks[int(item.SegmentNumber)]) for item in dataset.SegmentSequence)
    except READ_ERRORS as error:
        raise BreastkitError(f"{path} lacks parts that a segmentation must have; {_EXPORT_AGAIN}.") from error


def label_map(segments: tuple[ReadSegment, ...]) -> NDArray[Any]:
    """Joins segments into one array of their numbers, 0 where there is none; probabilities count from 0.5.

    Raises:
        BreastkitError: if there are none, or they overlap, because a label map could not hold them.
    """
    if not segments:
        raise BreastkitError("The segmentation holds no segment; save at least one, which may be empty.")
    joined = np.zeros(segments[0].mask.shape, dtype=np.uint8 if max(s.number for s in segments) < 256 else np.uint16)
    for segment in segments:
        inside = segment.mask >= 0.5
        if joined[inside].any():
            raise BreastkitError(
                f"segment {segment.number} '{segment.label}' overlaps another one, which a label map cannot hold; "
                "read the segments one by one."
            )
        joined[inside] = segment.number
    return joined


def _dataset(path: Path) -> Dataset:
    if not path.exists():
        raise BreastkitError(f"{path} does not exist; check the path.")
    if not is_dicom(path):
        raise BreastkitError(f"{path} is not a DICOM file; name a DICOM segmentation.")
    dataset = _read(path)
    if dataset.get("Modality") != "SEG" or "SegmentSequence" not in dataset:
        raise BreastkitError(f"{path} is no DICOM segmentation; name one.")
    return dataset


def _check_belongs(dataset: Dataset, images: SourceImages, path: Path) -> None:
    """Refuses a segmentation that says itself that it belongs to other images."""
    frame = str(dataset.get("FrameOfReferenceUID") or "")
    if images.is_volume and frame and images.frame_of_reference and frame == images.frame_of_reference:
        return
    referred = {
        str(instance.ReferencedSOPInstanceUID)
        for series in dataset.get("ReferencedSeriesSequence", [])
        for instance in series.get("ReferencedInstanceSequence", [])
    }
    if not referred & {str(header.SOPInstanceUID) for header in images.headers}:
        raise BreastkitError(f"{path} belongs to other images than {images.place}; name the series it was made on.")


def _pixels(dataset: Dataset, path: Path) -> NDArray[Any]:
    try:
        refuse_too_many(dataset, str(path), encoded=encoded_frames(dataset))
        pixels = dataset.pixel_array
    except READ_ERRORS as error:
        raise BreastkitError(f"{path} is truncated or damaged; {_EXPORT_AGAIN}.") from error
    return pixels if pixels.ndim == 3 else pixels[None]


def _numbers(dataset: Dataset) -> list[int]:
    return [int(item.SegmentNumber) for item in dataset.SegmentSequence]


def _describe(item: Dataset, mask: NDArray[Any]) -> ReadSegment:
    kind = _code(item.SegmentedPropertyTypeCodeSequence[0])
    region = item.get("AnatomicRegionSequence")
    algorithm = item.get("SegmentationAlgorithmIdentificationSequence")
    return ReadSegment(
        number=int(item.SegmentNumber),
        label=str(item.get("SegmentLabel", "")),
        kind=SegmentKind.coded_as(kind, _code(region[0]) if region else None),
        type=kind,
        algorithm=str(algorithm[0].AlgorithmName if algorithm else item.get("SegmentAlgorithmName", "")),
        version=str(algorithm[0].get("AlgorithmVersion", "") if algorithm else ""),
        mask=mask,
    )


def _code(item: Dataset) -> Code:
    return Code(str(item.CodeValue), str(item.CodingSchemeDesignator), str(item.get("CodeMeaning", "")))


def _group(dataset: Dataset, frame: Dataset, name: str) -> Dataset:
    """Returns a functional group, which stands with the frame or once for all frames."""
    group: Dataset = (frame.get(name) or dataset.SharedFunctionalGroupsSequence[0].get(name))[0]
    return group


def _frames_of(dataset: Dataset, pixels: NDArray[Any], number: int) -> tuple[list[int], NDArray[Any]]:
    """Returns the frames of one segment: their indices and their values, from 0 to 1."""
    kind = dataset.SegmentationType
    if kind == "LABELMAP":
        return list(range(len(pixels))), (pixels == number).astype(np.uint8)
    frames = [
        index
        for index, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence)
        if int(_group(dataset, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber) == number
    ]
    if kind == "FRACTIONAL":
        return frames, pixels[frames] / np.float32(dataset.get("MaximumFractionalValue", 255))
    return frames, pixels[frames].astype(np.uint8)


def _onto_picture(
    dataset: Dataset, pixels: NDArray[Any], number: int, images: SourceImages, path: Path
) -> NDArray[Any]:
    shape = images.grid.shape
    if pixels.shape[1:] != tuple(shape[-2:]):
        raise BreastkitError(
            f"{path} has {pixels.shape[1]}x{pixels.shape[2]} pixels, {images.place} {shape[-2]}x{shape[-1]}; "
            "name the picture it was made on."
        )
    indices, frames = _frames_of(dataset, pixels, number)
    result = np.zeros((len(images.planes), *shape[-2:]), dtype=frames.dtype)
    for index, values in zip(indices, frames, strict=True):
        result[_frame_of_source(dataset.PerFrameFunctionalGroupsSequence[index], images, path)] = values
    return result.reshape(shape)


def _frame_of_source(frame: Dataset, images: SourceImages, path: Path) -> int:
    """Returns which frame of a picture or clip, from 0, a frame of the segmentation was made on."""
    if len(images.planes) == 1:
        return 0
    for derivation in frame.get("DerivationImageSequence", []):
        for source in derivation.get("SourceImageSequence", []):
            if str(source.ReferencedSOPInstanceUID) == str(images.headers[0].SOPInstanceUID):
                numbers = source.get("ReferencedFrameNumber")
                first = numbers[0] if isinstance(numbers, (list, pydicom.multival.MultiValue)) else numbers
                if first is not None and 1 <= int(first) <= len(images.planes):
                    return int(first) - 1
    raise BreastkitError(f"{path} does not say which frames of the clip it outlines; {_EXPORT_AGAIN} with references.")


@dataclass(frozen=True)
class _Stack:
    """The frames of one segment as a volume [column, row, slice] with its affine (LPS)."""

    array: NDArray[Any]
    affine: NDArray[Any]


def _onto_volume(dataset: Dataset, pixels: NDArray[Any], number: int, images: SourceImages, path: Path) -> NDArray[Any]:
    indices, frames = _frames_of(dataset, pixels, number)
    result = np.zeros(images.grid.shape, dtype=frames.dtype)
    if not indices or not frames.any():
        return result
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ images.grid.affine
    stack = _stack(dataset, indices, frames, lps, path)
    filled = [(int(where.min()), int(where.max())) for where in np.nonzero(stack.array)]
    to_source = np.linalg.inv(lps) @ stack.affine
    corners = np.array(np.meshgrid(*filled)).reshape(3, -1).T
    _check_inside(stack.array, corners, to_source, images, path)
    corners = corners @ to_source[:3, :3].T + to_source[:3, 3]
    # Nearest neighbours; only where there is something, which for a lesion is a small part of the volume.
    reach = np.abs(to_source[:3, :3]).sum(axis=1).max()
    low = np.maximum(np.floor(corners.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0) + reach) + 1, images.grid.shape).astype(int)
    to_stack = np.linalg.inv(to_source)
    # "grid-constant" rounds before it asks what is outside: noise must not cost the outermost slice.
    matrix, offset = np.round(to_stack[:3, :3], 9), to_stack[:3, 3] + to_stack[:3, :3] @ low
    result[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = ndimage.affine_transform(
        stack.array, matrix, offset, tuple(high - low), order=0, mode="grid-constant", prefilter=False
    )
    return result


def _stack(dataset: Dataset, indices: list[int], frames: NDArray[Any], lps: NDArray[Any], path: Path) -> _Stack:
    groups = [dataset.PerFrameFunctionalGroupsSequence[index] for index in indices]
    places = np.array([_vector(_group(dataset, g, "PlanePositionSequence").ImagePositionPatient, 3) for g in groups])
    turns = np.array(
        [_vector(_group(dataset, g, "PlaneOrientationSequence").ImageOrientationPatient, 6) for g in groups]
    )
    measures = _group(dataset, groups[0], "PixelMeasuresSequence")
    spacing = _vector(measures.PixelSpacing, 2)
    if np.abs(turns - turns[0]).max() > 1e-3:
        raise BreastkitError(f"{path} holds slices in different directions; {_EXPORT_AGAIN}.")
    across, down = turns[0, :3], turns[0, 3:]
    normal = np.cross(across, down)
    heights = places @ normal
    step = _step(heights, measures, normal, lps, path)
    levels = np.round((heights - heights.min()) / step).astype(int)
    if len(set(levels)) < len(levels):
        raise BreastkitError(f"{path} holds several frames of one segment in the same place; {_EXPORT_AGAIN}.")
    array = np.zeros((frames.shape[2], frames.shape[1], levels.max() + 1), dtype=frames.dtype)
    for level, frame in zip(levels, frames, strict=True):
        array[:, :, level] = frame.T
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = across * spacing[1], down * spacing[0], normal * step
    affine[:3, 3] = places[int(np.argmin(heights))]
    return _Stack(array, affine)


def _step(heights: NDArray[Any], measures: Dataset, normal: NDArray[Any], lps: NDArray[Any], path: Path) -> float:
    """Returns the distance of two slices.

    Empty slices are left out, so the gaps between those that are there are multiples of it. SliceThickness says
    another thing and is often something else.
    """
    gaps = np.diff(np.sort(heights))
    gaps = gaps[gaps > 1e-3]
    along = np.abs(normal @ (lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)))
    of_source = float(np.linalg.norm(lps[:3, int(np.argmax(along))]))
    stated = float(measures.get("SpacingBetweenSlices") or 0)
    smallest = float(gaps.min()) if gaps.size else of_source
    known = [step for step in (stated, of_source) if step > 0 and _are_multiples(gaps, step)]
    if not known and not _are_multiples(gaps, smallest):
        raise BreastkitError(f"{path} holds unevenly spaced slices; {_EXPORT_AGAIN}.")
    # Neighbours that touch tell more than a header; where none do, there are empty slices between them.
    touching = [step for step in known if abs(step - smallest) < _SPACING_TOLERANCE * smallest]
    return (touching or known or [smallest])[0]


def _are_multiples(gaps: NDArray[Any], step: float) -> bool:
    return bool((np.abs(gaps / step - np.maximum(np.round(gaps / step), 1)) < _SPACING_TOLERANCE).all())


def _check_inside(
    array: NDArray[Any], corners: NDArray[Any], to_source: NDArray[Any], images: SourceImages, path: Path
) -> None:
    """Refuses what lies outside of the source: a part of the label would be lost without a word."""
    # Up to half a voxel of either grid beyond the centre of the outermost voxel is still the outermost voxel.
    slack = np.maximum(0.5, 0.5 * np.abs(to_source[:3, :3]).sum(axis=1)) + 1e-3
    low, high = -slack, np.array(images.grid.shape) - 1 + slack

    def outside(voxels: NDArray[Any]) -> NDArray[Any]:
        places = voxels @ to_source[:3, :3].T + to_source[:3, 3]
        out: NDArray[np.bool_] = ((places < low) | (places > high)).any(axis=1)
        return out

    if not outside(corners).any():
        return
    lost = outside(np.argwhere(array > 0))
    if lost.all():
        raise BreastkitError(f"{path} lies nowhere in {images.place}; name the series it was made on.")
    if lost.any():
        share = f"{100 * lost.mean():.2g} %"
        raise BreastkitError(f"{path} reaches out of {images.place} with {share}; name the series it was made on.")
