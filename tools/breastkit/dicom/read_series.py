"""DICOM series in: one MR or CT series as a volume with its affine.

The array is indexed [column, row, slice], slices in the order of InstanceNumber wherever that order runs straight
through the volume, so that the slice numbers people write down (from 1) are the third index (from 0). The affine
belongs to that order and maps to nibabel's RAS+ world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, EnhancedMRImageStorage, MRImageStorage

from breastkit.dicom.pixel_budget import encoded_frames, refuse_too_many
from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.errors import BreastkitError
from breastkit.images import Image

_IMAGES = (MRImageStorage, EnhancedMRImageStorage, CTImageStorage, EnhancedCTImageStorage)
_HEADER_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Modality", "SeriesDescription",
    "SeriesNumber", "NumberOfFrames", "SeriesTime", "AcquisitionTime", "StudyDate",
]  # fmt: skip
# 512 x 512 x 512.
_MOST_VOXELS = 2**27
# Positions are written with few digits; slices further off an even spacing than this share of it are not one volume.
_SPACING_TOLERANCE = 0.1


@dataclass(frozen=True)
class Series:
    """One series of images found in a folder.

    Attributes:
        uid: SeriesInstanceUID.
        files: its files, by name.
        patient: PatientID, empty when the header has none.
        study: StudyInstanceUID.
        description: SeriesDescription.
        number: SeriesNumber, 0 when the header has none.
        modality: ``MR`` or ``CT``.
        images: number of images (frames, for multi-frame objects).
        time: earliest AcquisitionTime, else SeriesTime, as written (HHMMSS.ffffff); empty when the header has none.
        date: StudyDate as written (YYYYMMDD); empty when the header has none.
    """

    uid: str
    files: tuple[Path, ...]
    patient: str
    study: str
    description: str
    number: int
    modality: str
    images: int
    time: str
    date: str = ""

    def __str__(self) -> str:
        return f"'{self.description or self.number}' of {self.images} images"


@dataclass(frozen=True)
class FolderContents:
    """What lies in a folder: image series, and what was left aside with the reason."""

    series: tuple[Series, ...]
    skipped: tuple[tuple[Path, str], ...] = field(default=())


@dataclass(frozen=True)
class _Slice:
    pixels: NDArray[Any]
    position: NDArray[Any]
    orientation: NDArray[Any]
    spacing: NDArray[Any]
    instance: int


def is_dicom(path: str | Path) -> bool:
    """Tells whether a file carries the DICOM prefix."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def holds_dicom(folder: str | Path) -> bool:
    """Tells whether a folder itself, not its sub-folders, holds a DICOM file."""
    folder = Path(folder)
    return folder.is_dir() and any(is_dicom(path) for path in _files(folder, recursive=False))


def list_series(folder: str | Path, *, recursive: bool = True) -> list[Series]:
    """Lists the image series of a folder, by number and time.

    Args:
        folder: a series or a study.
        recursive: look into sub-folders too.

    Raises:
        BreastkitError: if the folder is missing or a file in it cannot be read.
    """
    return list(read_folder(folder, recursive=recursive).series)


def read_folder(folder: str | Path, *, recursive: bool = True) -> FolderContents:
    """Sorts what a folder holds into image series and things left aside (segmentations, reports, other files).

    Raises:
        BreastkitError: if the folder is missing or a DICOM file in it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BreastkitError(f"{folder} is not a folder; name the folder of one DICOM series.")
    return sort_files(_files(folder, recursive=recursive))


def sort_files(paths: Iterable[Path]) -> FolderContents:
    """Sorts files into image series and things left aside, as `read_folder` does.

    Raises:
        BreastkitError: if a DICOM file cannot be read.
    """
    headers: dict[str, list[tuple[Path, Dataset]]] = {}
    skipped = []
    for path in paths:
        if not is_dicom(path):
            if path.suffix.lower() in (".dcm", ".ima"):
                raise BreastkitError(f"{path} is not a DICOM file although it is named so; export it again.")
            skipped.append((path, "not a DICOM file"))
            continue
        header = _read(path, specific_tags=_HEADER_TAGS)
        if header.get("SOPClassUID") in _IMAGES:
            headers.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
        else:
            kind = getattr(header.get("SOPClassUID"), "name", "DICOM object") or "DICOM object"
            skipped.append((path, f"{kind}, not an MR or CT image"))
    series = [_describe(uid, members) for uid, members in headers.items()]
    return FolderContents(tuple(sorted(series, key=lambda s: (s.number, s.time, s.uid))), tuple(skipped))


def read_series(folder: str | Path | Series, *, series: str | int | None = None) -> Image:
    """Reads one MR or CT series as a volume.

    Segmentations and other objects beside the images are left aside.

    Args:
        folder: the folder of the series, or a series from `list_series`.
        series: which one, by SeriesInstanceUID, SeriesDescription or SeriesNumber, where the folder holds several.

    Returns:
        The volume [column, row, slice], integers as stored or float32 where the header rescales them, with its RAS+
        affine.

    Raises:
        BreastkitError: if the folder holds no image series, several, several patients or several volumes of one series,
            or if slices are missing, unreadable or do not form a volume.
    """
    chosen = folder if isinstance(folder, Series) else _choose(Path(folder), series)
    place = folder.files[0].parent if isinstance(folder, Series) else Path(folder)
    slices: list[_Slice] = []
    for path in chosen.files:
        slices += _slices_of(path)
        if len(slices) * slices[-1].pixels.size > _MOST_VOXELS:
            raise BreastkitError(f"{place} holds more voxels than fit into memory; give each volume its own folder.")
    slices = _in_order(slices, place)
    affine = _affine(slices)
    array = np.stack([one.pixels for one in slices]).transpose(2, 1, 0)
    if array.min() == array.max():
        raise BreastkitError(f"{place} has the same value everywhere; export the scan again.")
    return Image(array, affine, place)


def _files(folder: Path, *, recursive: bool) -> Iterable[Path]:
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(path for path in found if path.is_file() and path.name[0] != "." and path.name != "DICOMDIR")


def _read(path: Path, **options: Any) -> Dataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels="specific_tags" in options, **options)
    except READ_ERRORS as error:
        raise BreastkitError(f"{path} is damaged and cannot be read; export it again.") from error


def _describe(uid: str, members: list[tuple[Path, Dataset]]) -> Series:
    headers = [header for _, header in members]
    first = headers[0]
    patients = {str(header.get("PatientID", "")) for header in headers}
    if len(patients) > 1:
        place = members[0][0].parent
        raise BreastkitError(f"{place} mixes {len(patients)} patients in one series; give each its own folder.")
    times = [str(header.get("AcquisitionTime") or header.get("SeriesTime") or "") for header in headers]
    return Series(
        uid=uid,
        files=tuple(path for path, _ in members),
        patient=patients.pop(),
        study=str(first.get("StudyInstanceUID", "")),
        description=str(first.get("SeriesDescription", "")).strip(),
        number=int(first.get("SeriesNumber") or 0),
        modality=str(first.get("Modality", "")),
        images=sum(int(header.get("NumberOfFrames") or 1) for header in headers),
        time=min(times),
        date=str(first.get("StudyDate") or ""),
    )


def _choose(folder: Path, wanted: str | int | None) -> Series:
    contents = read_folder(folder, recursive=False)
    found = list(contents.series)
    if not found:
        aside = f", only {contents.skipped[0][1]}" if contents.skipped else ""
        raise BreastkitError(f"{folder} holds no MR or CT image series{aside}; name the folder of one DICOM series.")
    if len({one.patient for one in found}) > 1:
        raise BreastkitError(f"{folder} mixes several patients; give each its own folder.")
    if wanted is not None:
        found = [one for one in found if str(wanted) in (one.uid, one.description, str(one.number))]
        if not found:
            raise BreastkitError(f"{folder} holds no series '{wanted}'; list them with their description or number.")
    if len(found) > 1:
        names = ", ".join(str(one) for one in found)
        raise BreastkitError(f"{folder} holds {len(found)} series ({names}); give each its own folder or choose one.")
    return found[0]


def _slices_of(path: Path) -> list[_Slice]:
    dataset = _read(path)
    pixels = _decode(dataset, path)
    if dataset.SOPClassUID in (EnhancedMRImageStorage, EnhancedCTImageStorage):
        return _frames(dataset, pixels, path)
    try:
        values = _rescale(pixels, dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"))
        return [
            _Slice(
                pixels=values,
                position=_vector(dataset.ImagePositionPatient, 3),
                orientation=_vector(dataset.ImageOrientationPatient, 6),
                spacing=_vector(dataset.PixelSpacing, 2),
                instance=int(dataset.get("InstanceNumber") or 0),
            )
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise _no_geometry(path) from error


def _vector(values: Sequence[float], length: int) -> NDArray[Any]:
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ValueError(f"{length} numbers are needed, got {values}")
    return vector


def _frames(dataset: Dataset, pixels: NDArray[Any], path: Path) -> list[_Slice]:
    """Returns the slices of a multi-frame object, whose geometry stands per frame or once for all of them."""

    def group(frame: Dataset, name: str, default: Dataset | None = None) -> Dataset:
        found = frame.get(name) or dataset.SharedFunctionalGroupsSequence[0].get(name)
        return found[0] if found or default is None else default

    slices = []
    try:
        for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            rescale = group(frame, "PixelValueTransformationSequence", Dataset())
            slices.append(
                _Slice(
                    pixels=_rescale(
                        pixels[number] if pixels.ndim == 3 else pixels,
                        rescale.get("RescaleSlope"),
                        rescale.get("RescaleIntercept"),
                    ),
                    position=_vector(group(frame, "PlanePositionSequence").ImagePositionPatient, 3),
                    orientation=_vector(group(frame, "PlaneOrientationSequence").ImageOrientationPatient, 6),
                    spacing=_vector(group(frame, "PixelMeasuresSequence").PixelSpacing, 2),
                    instance=number,
                )
            )
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise _no_geometry(path) from error
    return slices


def _decode(dataset: Dataset, path: Path) -> NDArray[Any]:
    if "PixelData" not in dataset:
        raise BreastkitError(f"{path} has no pixels; export it again.")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    try:
        frames = int(dataset.get("NumberOfFrames") or 1)
        refuse_too_many(dataset, str(path), frames=frames, encoded=encoded_frames(dataset))
        pixels = dataset.pixel_array
    except READ_ERRORS as error:
        if syntax is not None and syntax.is_compressed:
            raise BreastkitError(
                f"{path} is compressed as {syntax.name}, which no installed decoder reads; "
                "export it uncompressed (dcmdjpeg or gdcmconv do that)."
            ) from error
        raise BreastkitError(f"{path} is truncated or damaged; export it again.") from error
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise BreastkitError(f"{path} is a colour image; a gray MR or CT series is needed.")
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        # Inverted in the stored range, so that every slice of the series is inverted alike.
        pixels = ~pixels if pixels.dtype.kind == "i" else (2 ** int(dataset.BitsStored) - 1) - pixels
    return pixels


def _rescale(pixels: NDArray[Any], slope: float | None, intercept: float | None) -> NDArray[Any]:
    slope, intercept = float(1 if slope is None else slope), float(intercept or 0)
    if (slope, intercept) == (1.0, 0.0):
        return pixels
    return (pixels * np.float32(slope) + np.float32(intercept)).astype(np.float32)


def _no_geometry(path: Path) -> BreastkitError:
    return BreastkitError(f"{path} does not say where in the patient it lies; export the original series again.")


def _in_order(slices: list[_Slice], place: Path) -> list[_Slice]:
    """Checks that the slices make a volume and sorts them by InstanceNumber, or by position if that is no order."""
    if len(slices) < 2:
        raise BreastkitError(f"{place} holds a single slice, a volume is needed; export the whole series.")
    first = slices[0]
    if any(one.pixels.shape != first.pixels.shape for one in slices) or any(
        not np.allclose(one.spacing, first.spacing, rtol=1e-3) for one in slices
    ):
        raise BreastkitError(f"{place} holds slices of different size; give each volume its own folder.")
    if any(not np.allclose(one.orientation, first.orientation, atol=1e-3) for one in slices):
        raise BreastkitError(f"{place} holds slices in different directions (a localizer?); name a volume series.")
    across, down = first.orientation[:3], first.orientation[3:]
    normal = np.cross(across, down)
    if not 0.99 < np.linalg.norm(normal) < 1.01:
        raise BreastkitError(f"{place} has image directions that are not perpendicular; export the series again.")
    slices = sorted(slices, key=lambda one: float(one.position @ normal))
    if (np.diff([one.instance for one in slices]) < 0).all():
        slices.reverse()
    _check_spacing(np.array([one.position @ normal for one in slices]), place)
    path = np.array([one.position for one in slices])
    straight = np.linspace(path[0], path[-1], len(path))
    if np.abs(path - straight).max() > 0.5 * first.spacing.min():
        raise BreastkitError(f"{place} has slices shifted against each other; export the original series again.")
    return slices


def _check_spacing(heights: NDArray[Any], place: Path) -> None:
    gaps = np.abs(np.diff(heights))
    if (gaps <= 1e-3).any():
        copies = Counter(np.round(heights, 2)).most_common(1)[0][1]
        raise BreastkitError(
            f"{place} holds up to {copies} images of the same slice; "
            "it has doubled files or several phases: give each phase its own folder."
        )
    usual = float(np.median(gaps))
    uneven = np.flatnonzero(np.abs(gaps - usual) > _SPACING_TOLERANCE * usual)
    if uneven.size:
        gap = float(gaps[uneven[0]])
        missing = round(gap / usual) - 1
        what = f"{missing} of its slices missing" if missing > 0 else "unevenly spaced slices"
        raise BreastkitError(
            f"{place} has {what} after slice {uneven[0] + 1} ({gap:.2f} mm instead of {usual:.2f} mm); "
            "fetch the complete series."
        )


def _affine(slices: list[_Slice]) -> NDArray[Any]:
    first, last = slices[0], slices[-1]
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[1]
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    # DICOM's world is LPS, nibabel's RAS.
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
