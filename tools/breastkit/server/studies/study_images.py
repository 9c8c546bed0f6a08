"""The images of a studies folder or a DICOMweb address, each as one file that models read and clients download.

An identifier from a request is only ever looked up among the images found here; no path is made of it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import atomic_path, make_folder
from breastkit.dicom import Series, count_us_frames, count_us_pixels, read_series, read_us_frame, us_tissue_window
from breastkit.dicomweb.folder_index import FolderIndex, Instance, tag_of
from breastkit.dicomweb.retrieve import metadata_of
from breastkit.errors import BreastkitError
from breastkit.images import PICTURE_SUFFIXES, VOLUME_SUFFIXES, read_gray, read_header, stem, write_nifti
from breastkit.server.security.decompressed_sizes import refuse_growing_volume

MODALITIES = ("MR", "US", "CT")
# Pictures lie in the world as ITK, and so 3D Slicer, reads them: one millimetre a pixel, columns to the patient's left.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
_MOST_FRAMES = 500
# Of a whole clip: about three bytes each at once.
_MOST_CLIP_PIXELS = 2**28
# Pixels of an ultrasound picture of 1024 x 1024.
_SMALL = 2**20
# What `request_values.ImageId` refuses, and what no text can hold.
_NOT_IN_ADDRESS, _LONGEST_IDENTIFIER = re.compile(r"[/\\\x00-\x1f\ud800-\udfff]"), 256


# Gray pictures, each with its rows and columns that show tissue.
Frames = list[tuple[NDArray[Any], tuple[slice, slice]]]


class Form(Enum):
    """How an image is stored."""

    VOLUME = "volume"
    PICTURE = "picture"
    SERIES = "series"
    FRAMES = "frames"

    @property
    def is_flat(self) -> bool:
        """Whether it is read picture by picture."""
        return self in (Form.PICTURE, Form.FRAMES)


@dataclass(frozen=True)
class StudyImage:
    """One image to annotate.

    Attributes:
        id: what clients call it: a file's name, or a SeriesInstanceUID.
        form: how it is stored.
        files: where it is stored.
        info: what clients are told of it; no names of patients.
        affine: where the pixels of a picture lie.
    """

    id: str
    form: Form
    files: tuple[Path, ...]
    info: Mapping[str, Any] = field(default_factory=dict)
    affine: NDArray[Any] = field(default_factory=PICTURE_AFFINE.copy, compare=False)

    @property
    def modality(self) -> str:
        """As DICOM calls it; a file that tells none is ultrasound if it is a picture, and MRI if it is a volume."""
        return str(self.info.get("Modality") or ("US" if self.form.is_flat else "MR"))


@dataclass(frozen=True)
class Grid:
    """The voxels of an image: [column, row, slice] and RAS+ affine; a picture is a volume of one slice."""

    shape: tuple[int, int, int]
    affine: NDArray[Any]


def grid_of_file(path: Path) -> Grid:
    """Returns where the voxels of a volume or a picture lie.

    Raises:
        BreastkitError: if it cannot be read.
    """
    header = read_header(path)
    if header.affine is None:
        return Grid((header.shape[1], header.shape[0], 1), PICTURE_AFFINE)
    columns, rows, slices = (int(size) for size in (*header.shape, 1, 1)[:3])
    return Grid((columns, rows, slices), np.asarray(header.affine, dtype=np.float64))


class StudyImages(ABC):
    """The images of one place.

    Args:
        cache: a folder for files made from DICOM series.
    """

    def __init__(self, cache: str | Path) -> None:
        self.cache = make_folder(cache)
        self._converting = threading.Lock()

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of this machine in which the images lie."""
        return ()

    @abstractmethod
    def all(self) -> dict[str, StudyImage]:
        """Returns the images by identifier, in a fixed order."""

    def get(self, image_id: str) -> StudyImage:
        """Returns an image.

        Raises:
            BreastkitError: if there is none of this name.
        """
        found = self.all().get(image_id)
        if found is None:
            raise BreastkitError(f"There is no image '{image_id[:80]}' here; list the images first.")
        return found

    def fetched(self, image: StudyImage) -> StudyImage:
        """Returns the image with its files, which are here already unless another server holds them."""
        return image

    def file_of(self, image: StudyImage) -> Path:
        """Returns the image as one file: as it is, or as a NIfTI made of its series.

        Raises:
            BreastkitError: if it cannot be read.
        """
        if image.form in (Form.VOLUME, Form.PICTURE):
            return image.files[0]
        path = self.cache / f"{image.id}.nii.gz"
        with self._converting:
            if not path.is_file() or any(one.stat().st_mtime > path.stat().st_mtime for one in image.files):
                if image.form is Form.SERIES:
                    volume = read_series(series_of(image))
                    write_nifti(path, volume.array, volume.affine)
                else:
                    frames = np.stack([gray for gray, _ in frames_of(image)], axis=-1).transpose(1, 0, 2)
                    write_nifti(path, frames, PICTURE_AFFINE)
        return path

    def grid_of(self, image: StudyImage) -> Grid:
        """Returns where the voxels of an image lie.

        Raises:
            BreastkitError: if it cannot be read.
        """
        return grid_of_file(self.file_of(image))


class FileImages(StudyImages):
    """NIfTI volumes and pictures in a folder and its sub-folders; masks and labels are left aside.

    Args:
        folder: where they lie.
        cache: see `StudyImages`.
        added: a folder for images that clients send, in the one for labels.
    """

    def __init__(self, folder: str | Path, cache: str | Path, *, added: str | Path) -> None:
        super().__init__(cache)
        self.folder, self.added = Path(folder).resolve(), Path(added).resolve()

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of this machine in which the images lie."""
        return (self.folder, self.added)

    def all(self) -> dict[str, StudyImage]:
        """Returns the images by name; where names repeat, the folders' names stand before them."""
        own = [path for path in _image_files(self.folder) if not path.is_relative_to(self.added.parent)]
        paths = sorted({*own, *_image_files(self.added)})
        names = [stem(path) for path in paths]
        found = {}
        for path, name in zip(paths, names, strict=True):
            if names.count(name) > 1 and path.is_relative_to(self.folder):
                name = "__".join((*path.relative_to(self.folder).parts[:-1], path.name.replace(".", "_")))
            name = _identifier(name)
            form = Form.VOLUME if path.name.lower().endswith(VOLUME_SUFFIXES) else Form.PICTURE
            found[name] = StudyImage(name, form, (path,), {"name": shown_name(path)})
        return found


def shown_name(path: Path) -> str:
    """Returns the name of a file as text that can be sent; bytes that are no text become question marks."""
    return path.name.encode("utf-8", "replace").decode()


def _identifier(name: str) -> str:
    """Returns what clients call an image: its name, with a hash where the name cannot stand in an address."""
    kept = _NOT_IN_ADDRESS.sub("_", name)[:_LONGEST_IDENTIFIER]
    if kept == name:
        return name
    return f"{kept[: _LONGEST_IDENTIFIER - 17]} {hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def _image_files(place: Path) -> list[Path]:
    found = []
    for path in place.rglob("*") if place.is_dir() else ():
        parts = path.relative_to(place).parts
        if not path.name.lower().endswith((*VOLUME_SUFFIXES, *PICTURE_SUFFIXES)) or "_mask" in path.name:
            continue
        if any(part.startswith(".") for part in parts):
            continue
        # A link must not lead out of what was opened for reading.
        if path.is_file() and path.resolve().is_relative_to(place):
            found.append(path)
    return found


class DicomImages(StudyImages):
    """The MR, US and CT series of an index of DICOM files.

    Args:
        index: knows the files.
        cache: see `StudyImages`.
    """

    def __init__(self, index: FolderIndex, cache: str | Path) -> None:
        super().__init__(cache)
        self.index = index
        self._referred: dict[str, set[str]] = {}

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of this machine in which the images lie."""
        return self.index.folders

    def all(self) -> dict[str, StudyImage]:
        """Returns the series by SeriesInstanceUID."""
        self.index.refresh_if_old()
        series: dict[str, list[Instance]] = {}
        for instance in self.index:
            if _text(instance, "Modality") in MODALITIES and tag_of("Rows") in instance.attributes:
                series.setdefault(instance.series, []).append(instance)
        ordered = sorted(series.values(), key=lambda ones: (_text(ones[0], "PatientID"), ones[0].series))
        return {ones[0].series: _series_image(ones) for ones in ordered}

    def with_segmentation(self) -> set[str]:
        """Returns the series that segmentations of the index refer to."""
        found = set()
        for instance in self.index:
            if _text(instance, "Modality") == "SEG":
                if instance.uid not in self._referred:
                    self._referred[instance.uid] = _series_referred_to(instance)
                found |= self._referred[instance.uid]
        return found


def _series_referred_to(instance: Instance) -> set[str]:
    try:
        parts = metadata_of(instance).get("00081115", {}).get("Value", [])
    except BreastkitError:
        return set()
    return {str(value) for part in parts for value in part.get(tag_of("SeriesInstanceUID"), {}).get("Value", [])}


def _series_image(instances: list[Instance]) -> StudyImage:
    first = min(instances, key=lambda one: str(one.path))
    modality = _text(first, "Modality")
    info: dict[str, Any] = {
        "Modality": modality,
        "StudyInstanceUID": first.study,
        "SeriesInstanceUID": first.series,
        "PatientID": _text(first, "PatientID"),
        "StudyDate": _text(first, "StudyDate"),
        "SeriesDescription": _text(first, "SeriesDescription"),
    }
    form = Form.FRAMES if modality == "US" else Form.SERIES
    if form is Form.FRAMES:
        info["NumberOfFrames"] = sum(max(1, _number(_text(one, "NumberOfFrames"))) for one in instances)
    # As viewers order them; where a header does not tell, by name.
    ordered = sorted(instances, key=lambda one: (_number(_text(one, "InstanceNumber")), str(one.path)))
    return StudyImage(first.series, form, tuple(one.path for one in ordered), info)


def _text(instance: Instance, keyword: str) -> str:
    values = instance.attributes.get(tag_of(keyword), {}).get("Value") or [""]
    return str(values[0])


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def series_of(image: StudyImage) -> Series:
    """Returns a DICOM volume as `breastkit.dicom` reads it."""
    return Series(
        uid=image.id,
        files=image.files,
        patient=str(image.info.get("PatientID", "")),
        study=str(image.info.get("StudyInstanceUID", "")),
        description=str(image.info.get("SeriesDescription", "")),
        number=0,
        modality=str(image.info.get("Modality", "")),
        images=len(image.files),
        time="",
    )


def is_small(image: StudyImage) -> bool:
    """Tells whether a flat image, by its header, is so small that several fit into memory at once.

    Raises:
        BreastkitError: if it cannot be read.
    """
    if image.form is Form.PICTURE:
        return math.prod(read_header(image.files[0]).shape) <= _SMALL
    return sum(count_us_frames(path) * count_us_pixels(path) for path in image.files) <= _SMALL


def frames_of(image: StudyImage) -> Frames:
    """Returns the gray pictures of a flat image, each with its rows and columns that show tissue.

    Raises:
        BreastkitError: if one cannot be read, or they are of different sizes or too many.
    """
    if image.form is Form.PICTURE:
        return [(read_gray(image.files[0]), (slice(None), slice(None)))]
    counts = [count_us_frames(path) for path in image.files]
    if sum(counts) > _MOST_FRAMES:
        raise BreastkitError(f"Series {image.id} has {sum(counts)} frames; at most {_MOST_FRAMES} are read, cut it.")
    pixels = sum(count * count_us_pixels(path) for path, count in zip(image.files, counts, strict=True))
    if pixels > _MOST_CLIP_PIXELS:
        raise BreastkitError(f"Series {image.id} has {pixels} pixels, more than are read at once; cut the clip.")
    found = [
        (read_us_frame(path, number), us_tissue_window(path))
        for path, count in zip(image.files, counts, strict=True)
        for number in range(count)
    ]
    if len({gray.shape for gray, _ in found}) > 1:
        raise BreastkitError(f"Series {image.id} has pictures of different sizes; store each size as its own series.")
    return found


def refuse_missing_studies(studies: str) -> None:
    """Refuses a place that is no folder and no address.

    Raises:
        BreastkitError: if it is neither.
    """
    if not studies.startswith(("http://", "https://")) and not Path(studies).is_dir():
        raise BreastkitError(
            f"{studies} is no folder; name a folder of NIfTI, pictures or DICOM, or a DICOMweb address."
        )


# What a client may call an image it sends, as 3D Slicer calls it "4: T1 post"; also safe as the name of a file.
NAME_OF_NEW_IMAGE = re.compile(r"[^\W_][^/\\\x00-\x1f\x7f\ud800-\udfff]{0,99}")
_LONGEST_NAME = 200


def add_image(images: StudyImages, name: str, sent: Path) -> StudyImage:
    """Takes an image from a client into the store.

    Args:
        images: where to; only folders of NIfTI and pictures take any.
        name: what to call it.
        sent: the file as it came.

    Raises:
        BreastkitError: if the store takes none, the name is taken or none, or the file is no image.
    """
    if not isinstance(images, FileImages):
        raise BreastkitError("This store holds DICOM; store new images with DICOMweb.")
    if not NAME_OF_NEW_IMAGE.fullmatch(name) or "_mask" in name or len(name.encode()) > _LONGEST_NAME:
        raise BreastkitError(
            f"The name of an image begins with a letter or digit, holds no slash and no _mask, and has at most 100 "
            f"letters and {_LONGEST_NAME} bytes; choose such."
        )
    if name in images.all():
        raise BreastkitError(f"There is an image '{name}' already; choose another name.")
    suffix = next((end for end in (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES) if sent.name.lower().endswith(end)), None)
    if suffix is None:
        raise BreastkitError("Images are .nii, .nii.gz, .png, .jpg, .tif and .bmp; send one of these.")
    try:
        refuse_growing_volume(sent) if suffix in VOLUME_SUFFIXES else read_header(sent)
    except BreastkitError as error:
        raise BreastkitError(str(error).replace(str(sent), name)) from error
    with atomic_path(images.added / f"{name}{suffix}") as temporary:
        temporary.write_bytes(sent.read_bytes())
    return images.get(name)
