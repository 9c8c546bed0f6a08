"""A subtraction of two phases as a series of its own: derived MR images beside those they were made of."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from breastkit.atomic import atomic_folder
from breastkit.dicom.derived_objects import DerivedUids
from breastkit.dicom.read_series import Series, read_series
from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_mr import Geometry, fill_pixels, place_slice
from breastkit.errors import BreastkitError

DESCRIPTION, PROJECTION = "Subtraction", "Subtraction, maximum projection"
# Beyond what scanners count to, so that they are listed after the images.
_NUMBERS = {DESCRIPTION: 901, PROJECTION: 902}
_LARGEST = 2**15 - 1
# What a subtraction takes over of the images after contrast: patient, study, place, equipment, and how they were made.
_KEPT_GROUPS = (0x0008, 0x0010, 0x0018, 0x0020)
_NOT_KEPT = (
    "InstanceCreationDate", "InstanceCreationTime", "InstanceCreatorUID", "ReferencedImageSequence",
    "SourceImageSequence", "TriggerTime",
)  # fmt: skip


class SubtractionUids:
    """Identifiers of the two series, which follow from those of the phases.

    Args:
        pre: the phase before contrast.
        post: the one after it.
    """

    def __init__(self, pre: Series, post: Series) -> None:
        header = read_source_images(post).headers[0]
        self._made = DerivedUids(f"{DESCRIPTION} {pre.uid} {post.uid}", header)

    def series(self, description: str) -> UID:
        """Returns the SeriesInstanceUID of the subtraction, or of its projection."""
        return self._made.make(description)

    def image(self, description: str, number: int) -> UID:
        """Returns the SOPInstanceUID of one of its images."""
        return self._made.make(description, str(number))

    def frame_of_reference(self) -> UID:
        """Returns that of the projection: nothing lies in one place of the patient there."""
        return self._made.make("frame of reference")


def write_subtraction(folder: str | Path, pre: Series, post: Series) -> Path:
    """Writes a phase after contrast minus the one before it, and the maximum of that through all slices.

    Two series: the subtraction slice by slice where the later phase has its slices, and its projection, one image.

    Args:
        folder: of both; it must not exist or be empty.
        pre: before contrast.
        post: after it, on the same grid.

    Returns:
        The folder.

    Raises:
        BreastkitError: if one cannot be read, they do not lie on one grid, or the folder cannot be written.
    """
    before, after = read_series(pre), read_series(post)
    if before.array.shape != after.array.shape or not np.allclose(before.affine, after.affine, atol=1e-2):
        raise BreastkitError(f"{pre} and {post} do not lie on one grid; resample one onto the other.")
    difference = after.array.astype(np.float32) - before.array.astype(np.float32)
    factor = max(1.0, float(np.abs(difference).max()) / _LARGEST)
    volume = np.round(difference / factor).astype(np.int16)
    source, uids = read_source_images(post), SubtractionUids(pre, post)
    geometry = Geometry.of(after.affine, Path(folder))
    made = f"'{post.description}' minus '{pre.description}'" + (f", divided by {factor:g}" if factor > 1 else "")
    count = volume.shape[2]
    single = len(source.headers) == count
    # One window for all slices, so that scrolling does not change what brightness means.
    window = np.percentile(volume, (50, 99.8))
    with atomic_folder(folder) as temporary:
        for number in range(count):
            image = _image(source.headers[number if single else 0], uids, DESCRIPTION, number, made)
            if not single:
                place_slice(image, geometry, number)
            _show(image, volume[:, :, number], window)
            image.save_as(temporary / f"{number + 1:04d}.dcm", enforce_file_format=True)
        image = _image(source.headers[0], uids, PROJECTION, 0, f"Maximum through all slices of {made}")
        place_slice(image, geometry, count // 2)
        image.FrameOfReferenceUID = uids.frame_of_reference()
        projection = volume.max(axis=2)
        _show(image, projection, np.percentile(projection, (20, 99.8)))
        image.save_as(temporary / "projection.dcm", enforce_file_format=True)
    return Path(folder)


def _image(header: Dataset, uids: SubtractionUids, description: str, number: int, made: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    image = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
    for element in header:
        # No private elements: what they say of the images before is not true of these.
        if element.tag.group in _KEPT_GROUPS and element.keyword and element.keyword not in _NOT_KEPT:
            image[element.tag] = copy.deepcopy(element)
    if "Laterality" not in header:
        # Of a paired part it has to be there, if only empty, which scanners forget.
        image.Laterality = ""
    if "PixelSpacing" in header:
        image.PixelSpacing = header.PixelSpacing
    image.SOPClassUID = MRImageStorage
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = uids.image(description, number)
    image.SeriesInstanceUID = uids.series(description)
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SUBTRACTION" if description == DESCRIPTION else "MIP"]
    image.DerivationDescription = made[:1024]
    image.SeriesDescription, image.SeriesNumber = description, _NUMBERS[description]
    image.InstanceNumber = number + 1
    return image


def _show(image: Dataset, pixels: NDArray[np.int16], window: NDArray[np.float64]) -> None:
    fill_pixels(image, pixels.T)
    low, high = (float(value) for value in window)
    image.WindowCenter = round((low + high) / 2, 1)
    image.WindowWidth = round(max(1.0, high - low), 1)
