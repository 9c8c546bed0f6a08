"""DICOM segmentations out: masks of a series or a picture as one SEG object that refers to its source."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from breastkit.atomic import atomic_path
from breastkit.dicom.derived_objects import DerivedUids, Side, take_times_of
from breastkit.dicom.picture_segmentation import add_flat_geometry, extend_to_clip, first_frame_of
from breastkit.dicom.read_series import Series
from breastkit.dicom.segment_kinds import SegmentCodes, SegmentKind
from breastkit.dicom.source_images import SourceImages, read_source_images
from breastkit.errors import BreastkitError
from breastkit.lazy_imports import imported_later
from breastkit.volume_order import in_order

if TYPE_CHECKING:
    import highdicom
else:
    highdicom = imported_later("highdicom")

# Share of a voxel by which a mask's grid may differ from that of its source: headers round.
_GRID_TOLERANCE = 0.05


@dataclass(frozen=True)
class Algorithm:
    """What made a mask.

    Attributes:
        name: the bundle or model.
        version: of the weights: their sha256.
        corrected: whether a person corrected its result.
    """

    name: str
    version: str
    corrected: bool = False


@dataclass(frozen=True)
class Segment:
    """One mask to write.

    Attributes:
        kind: what it shows: one of ours by name, or how it is coded.
        mask: 0 and 1 (whole numbers or booleans), or probabilities (floats from 0 to 1), on the grid of the source.
        algorithm: what made it; None for a mask drawn by a person.
        label: what viewers show; by default the name of the kind.
        side: of the patient, where it is known.
        tracking_id: what else refers to it by, for example a report; it gets an identifier of its own then.
    """

    kind: SegmentKind | SegmentCodes | str
    mask: NDArray[Any]
    algorithm: Algorithm | None = None
    label: str = ""
    side: Side | None = None
    tracking_id: str | None = None


def write_segmentation(
    path: str | Path,
    segments: Sequence[Segment],
    source: str | Path | Series | SourceImages,
    *,
    affine: NDArray[Any] | None = None,
    series_number: int = 900,
    description: str = "Segmentation",
    content: str = "",
    creator: str = "",
    keep_empty_slices: bool = False,
    uid_source: str | None = None,
    part: str = "",
) -> Path:
    """Writes masks as one DICOM segmentation: FRACTIONAL if they are probabilities, BINARY if not.

    Args:
        path: the file to write.
        segments: the masks. Of a series: [column, row, slice] as `read_series` gives the volume, or,
            with their affine, in any order of the axes. Of a picture (rows, columns), of a clip (frames, rows,
            columns).
        source: the folder of an MR or CT series, a series, a file with an ultrasound picture or clip, or what
            `read_source_images` gave.
        affine: of the masks, voxel to RAS+ millimetres; None if they lie as `read_series` gives the volume.
        series_number: SeriesNumber of the segmentation.
        description: SeriesDescription.
        content: ContentDescription, what is said of all of it; the description by default.
        creator: who drew or corrected it.
        keep_empty_slices: write slices without anything in them too.
        uid_source: if given, every identifier follows from it and the source, and date and time are the study's, so
            that the same masks give the same file.
        part: tells its identifiers from those of another segmentation with the same source and images; what is tracked
            keeps the same ones.

    Returns:
        The path.

    Raises:
        BreastkitError: if the masks do not fit the source or each other, or the file cannot be written.
    """
    path = Path(path)
    images = source if isinstance(source, SourceImages) else read_source_images(source)
    if not segments:
        raise BreastkitError(f"{path} would hold no segment; give at least one mask.")
    frames = np.stack([frames_on_images(segment.mask, affine, images, path) for segment in segments], axis=-1)
    clip = not images.is_volume and "NumberOfFrames" in images.headers[0]
    fractional = frames.dtype.kind == "f"
    uids, parts = DerivedUids(uid_source, images.headers[0]), [part] if part else []
    with warnings.catch_warnings():
        # It would print the patient's name.
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent")
        kinds = highdicom.seg.SegmentationTypeValues
        result = highdicom.seg.Segmentation(
            source_images=[first_frame_of(images.headers[0])] if clip else list(images.headers),
            pixel_array=frames[:1] if clip else frames,
            segmentation_type=kinds.FRACTIONAL if fractional else kinds.BINARY,
            segment_descriptions=[_describe(number, one, uids) for number, one in enumerate(segments, start=1)],
            series_instance_uid=uids.make("series", *parts),
            series_number=series_number,
            sop_instance_uid=uids.make("instance", *parts),
            instance_number=1,
            manufacturer="breastkit",
            manufacturer_model_name="breastkit",
            software_versions=version("breastkit"),
            device_serial_number="0",
            content_label="SEGMENTATION",
            content_description=(content or description)[:64],
            content_creator_name=creator or None,
            # An empty mask is a finding, not a mistake: it keeps its slices, since it has no others.
            omit_empty_frames=not (keep_empty_slices or clip) and bool(frames.any()),
            series_description=description[:64],
        )
    if not images.is_volume:
        add_flat_geometry(result, images.headers[0])
    if clip:
        extend_to_clip(result, frames, images.headers[0], keep_empty=keep_empty_slices)
    if uid_source is not None:
        _settle(result, images.headers[0], uids.make("dimensions", *parts))
    with atomic_path(path) as temporary:
        result.save_as(temporary, enforce_file_format=True)
    return path


def _describe(number: int, segment: Segment, uids: DerivedUids) -> highdicom.seg.SegmentDescription:
    coded = segment.kind if isinstance(segment.kind, SegmentCodes) else SegmentKind.of(segment.kind).codes
    algorithm = segment.algorithm
    identification = None
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    kind = kinds.MANUAL
    if algorithm is not None:
        kind = kinds.SEMIAUTOMATIC if algorithm.corrected else kinds.AUTOMATIC
        identification = highdicom.AlgorithmIdentificationSequence(
            name=algorithm.name, family=codes.DCM.ArtificialIntelligence, version=algorithm.version, source="breastkit"
        )
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=(segment.label or coded.label)[:64],
        segmented_property_category=coded.category,
        segmented_property_type=coded.type,
        algorithm_type=kind,
        algorithm_identification=identification,
        tracking_id=segment.tracking_id,
        tracking_uid=uids.make("tracking", segment.tracking_id) if segment.tracking_id else None,
        anatomic_regions=[coded.region] if coded.region else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*coded.colour),
    )
    if segment.side is not None:
        _add_side(description, segment.side)
    return description


def _add_side(description: highdicom.seg.SegmentDescription, side: Side) -> None:
    """Adds the side to the region that a segment lies in, or to its type where that is the region."""
    modifier = [highdicom.sr.CodedConcept.from_code(side.code)]
    if "AnatomicRegionSequence" in description:
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = modifier
    else:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifier


def _settle(result: highdicom.seg.Segmentation, header: Dataset, organization: str) -> None:
    """Replaces what highdicom takes from the clock and from chance."""
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    take_times_of(result, header)


def frames_on_images(mask: NDArray[Any], affine: NDArray[Any] | None, images: SourceImages, path: Path) -> NDArray[Any]:
    """Returns a mask as (frames, rows, columns) in the order of the source's headers or frames.

    Args:
        mask: see `Segment`.
        affine: see `write_segmentation`.
        images: the source.
        path: the file that is to be written.

    Raises:
        BreastkitError: if the mask does not fit the source.
    """
    mask = _checked_values(np.asarray(mask), path)
    if images.is_volume:
        if affine is not None:
            mask = _in_order_of_source(mask, np.asarray(affine, dtype=np.float64), images, path)
        _check_shape(mask, images, path)
        frames = mask.transpose(2, 1, 0)
    else:
        _check_shape(mask, images, path)
        frames = mask if mask.ndim == 3 else mask[None]
    # A multi-frame object may hold its slices in any order.
    return in_order(frames)[np.argsort(images.planes)]


def as_fractions(probability: NDArray[Any]) -> NDArray[np.float32]:
    """Returns probabilities as a fractional segmentation keeps them, in steps of 1/255.

    What is nearly nothing becomes nothing, and slices of it need not be written.
    """
    steps: NDArray[np.float32] = np.around(np.asarray(probability, np.float32) * 255) / np.float32(255)
    return steps


def _checked_values(mask: NDArray[Any], path: Path) -> NDArray[Any]:
    if mask.dtype.kind == "f":
        if not np.isfinite(mask).all() or mask.min(initial=0) < 0 or mask.max(initial=0) > 1:
            raise BreastkitError(f"{path} needs probabilities from 0 to 1; give those, or a mask of 0 and 1.")
        return mask.astype(np.float32, copy=False)
    if mask.dtype.kind not in "biu" or mask.min(initial=0) < 0 or mask.max(initial=0) > 1:
        raise BreastkitError(f"{path} needs masks of 0 and 1; give each label of a label map as a segment of its own.")
    return mask.astype(np.uint8, copy=False)


def _check_shape(mask: NDArray[Any], images: SourceImages, path: Path) -> None:
    if mask.shape != tuple(images.grid.shape):
        raise BreastkitError(
            f"{path} was not written: its mask of {_times(mask.shape)} does not fit {images.place} of "
            f"{_times(images.grid.shape)}; bring the mask onto the grid of its source first."
        )


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _in_order_of_source(mask: NDArray[Any], affine: NDArray[Any], images: SourceImages, path: Path) -> NDArray[Any]:
    """Reorders and flips the axes of a mask so that it lies as its source does.

    The voxels must be the source's: nothing is interpolated here.
    """
    refused = BreastkitError(
        f"{path} was not written: its mask lies on another grid than {images.place}; "
        "bring the mask onto the grid of its source first."
    )
    if mask.ndim != 3 or affine.shape != (4, 4) or abs(np.linalg.det(affine)) < 1e-9:
        raise refused
    to_mask = np.linalg.inv(affine) @ images.grid.affine
    for axes in permutations(range(3)):
        # Column a of the matrix is the step in the mask for one step along the source's axis a.
        signs = np.array([to_mask[axes[axis], axis] for axis in range(3)])
        exact = np.zeros((3, 3))
        exact[list(axes), range(3)] = np.sign(signs)
        reach = np.abs(to_mask[:3, :3] - exact) @ (np.array(images.grid.shape) - 1)
        if (reach < _GRID_TOLERANCE).all():
            break
    else:
        raise refused
    turned = mask.transpose(axes)
    turned = turned[tuple(slice(None, None, -1 if sign < 0 else 1) for sign in signs)]
    start = to_mask[:3, 3]
    expected = [0 if signs[axis] > 0 else mask.shape[axes[axis]] - 1 for axis in range(3)]
    if turned.shape != tuple(images.grid.shape) or any(
        abs(start[axes[axis]] - expected[axis]) > _GRID_TOLERANCE for axis in range(3)
    ):
        raise refused
    return turned
