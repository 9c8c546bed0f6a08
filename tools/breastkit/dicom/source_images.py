"""The images a segmentation belongs to: their headers, the grid of their voxels and the order of their planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.dicom.read_series import (
    _IMAGES,
    Series,
    _affine,
    _choose,
    _frames,
    _in_order,
    _no_geometry,
    _read,
    _Slice,
    _vector,
    is_dicom,
)
from breastkit.errors import BreastkitError
from breastkit.images import Header

# A region of two dimensions, in centimetres.
_PICTURE_REGION, _CENTIMETRES = 1, 3
# A segmentation takes these over; files that were stripped of names often lack them.
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "SliceThickness",
)  # fmt: skip


@dataclass(frozen=True)
class SourceImages:
    """Images without their pixels.

    Attributes:
        headers: one a file; of a volume of single images in the order of its slices.
        grid: shape and affine as `read_series` gives them, [column, row, slice]; for pictures (rows, columns) or
            (frames, rows, columns) and no affine.
        planes: position in the headers (single images) or in the frames (one multi-frame object) of every slice.
        place: the folder or file they came from.
    """

    headers: tuple[Dataset, ...]
    grid: Header
    planes: tuple[int, ...]
    place: Path

    @property
    def is_volume(self) -> bool:
        """Whether the images have a place in the patient."""
        return self.grid.affine is not None

    @property
    def frame_of_reference(self) -> str:
        """FrameOfReferenceUID, empty when the headers have none."""
        return str(self.headers[0].get("FrameOfReferenceUID") or "")


def read_source_images(source: str | Path | Series, *, series: str | int | None = None) -> SourceImages:
    """Reads what a segmentation must know of its source.

    Args:
        source: the folder of an MR or CT series, a series from `list_series`, or one file with a picture or clip
            (ultrasound).
        series: which series, as for `read_series`.

    Raises:
        BreastkitError: if the source is no volume and no picture.
    """
    place = source.files[0].parent if isinstance(source, Series) else Path(source)
    try:
        if isinstance(source, Series) or place.is_dir():
            chosen = source if isinstance(source, Series) else _choose(place, series)
            return _volume([_header(path) for path in chosen.files], chosen.files, place)
        return _picture(place)
    except READ_ERRORS as error:
        raise BreastkitError(f"{place} is damaged and cannot be read; export it again.") from error


def _header(path: Path) -> Dataset:
    header = _read(path, specific_tags=None)
    for name in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not header.get(name):
            raise BreastkitError(f"{path} has no {name}, so nothing can refer to it; export it again.")
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    return header


def _volume(headers: Sequence[Dataset], files: Sequence[Path], place: Path) -> SourceImages:
    slices, owners = [], []
    for number, (header, path) in enumerate(zip(headers, files, strict=True)):
        found = _planes_of(header, path)
        slices += found
        owners += [number] * len(found)
    multi_frame = len(headers) == 1
    if not multi_frame and len(slices) != len(headers):
        raise BreastkitError(f"{place} holds several multi-frame objects in one series; give each its own folder.")
    origin = {id(one): number for number, one in enumerate(slices)}
    slices = _in_order(slices, place)
    order = [origin[id(one)] for one in slices]
    rows, columns = slices[0].pixels.shape
    return SourceImages(
        headers=tuple(headers) if multi_frame else tuple(headers[owners[one]] for one in order),
        grid=Header((columns, rows, len(slices)), _affine(slices)),
        planes=tuple(order) if multi_frame else tuple(range(len(order))),
        place=place,
    )


def _planes_of(header: Dataset, path: Path) -> list[_Slice]:
    """Returns the slices of a file with their place but without values."""
    try:
        nothing = np.broadcast_to(np.uint8(0), (int(header.Rows), int(header.Columns)))
        if "PerFrameFunctionalGroupsSequence" in header:
            frames = len(header.PerFrameFunctionalGroupsSequence)
            return _frames(header, np.broadcast_to(nothing, (frames, *nothing.shape)), path)
        return [
            _Slice(
                pixels=nothing,
                position=_vector(header.ImagePositionPatient, 3),
                orientation=_vector(header.ImageOrientationPatient, 6),
                spacing=_vector(header.PixelSpacing, 2),
                instance=int(header.get("InstanceNumber") or 0),
            )
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise _no_geometry(path) from error


def _picture(path: Path) -> SourceImages:
    if not path.exists():
        raise BreastkitError(f"{path} does not exist; check the path.")
    if not is_dicom(path):
        raise BreastkitError(f"{path} is not a DICOM file; name a DICOM picture or the folder of a series.")
    header = _header(path)
    if header.get("SOPClassUID") in _IMAGES:
        raise BreastkitError(f"{path} is one file of a volume; name the folder of its series.")
    if "Rows" not in header or "Columns" not in header or header.get("Modality") == "SEG":
        raise BreastkitError(f"{path} is no picture; name the DICOM image that was outlined.")
    frames = int(header.get("NumberOfFrames") or 1)
    shape = (int(header.Rows), int(header.Columns))
    return SourceImages((header,), Header((frames, *shape) if frames > 1 else shape, None), tuple(range(frames)), path)


def pixel_spacing(header: Dataset) -> tuple[float, float] | None:
    """Returns the distance of rows and of columns in mm, None where the picture is not calibrated.

    Args:
        header: of a picture or clip.
    """
    stated = header.get("PixelSpacing")
    if stated:
        return float(stated[0]), float(stated[1])
    for region in header.get("SequenceOfUltrasoundRegions", []):
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        if region.get("RegionSpatialFormat") == _PICTURE_REGION and units == (_CENTIMETRES, _CENTIMETRES):
            rows, columns = (abs(10 * float(region.get(f"PhysicalDelta{axis}") or 0)) for axis in "YX")
            if rows and columns:
                return rows, columns
    return None
