"""Ultrasound DICOM in: the frames of single pictures and clips as 8-bit gray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from breastkit.dicom.pixel_budget import encoded_frame_of, refuse_too_many
from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.dicom.read_series import is_dicom
from breastkit.errors import BreastkitError
from breastkit.images import colour_share

_RETIRED = ("1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3")
_ULTRASOUND = (UltrasoundImageStorage, UltrasoundMultiFrameImageStorage, *_RETIRED)
_HEADER_TAGS = ["SOPClassUID", "Modality", "NumberOfFrames", "Rows"]
# DICOM's codes of a region that is a 2D picture of tissue.
_TISSUE_2D = (1, 1)
# ITU-R BT.601, as everything that turns colour pictures to gray here.
_LUMINANCE = (0.299, 0.587, 0.114)


def why_no_ultrasound(path: str | Path) -> str | None:
    """Returns what a DICOM file is where it is no ultrasound picture or clip, None where it is one.

    Secondary captures of modality US count as ultrasound: many machines export nothing else.

    Raises:
        BreastkitError: if the file is damaged.
    """
    with _damage_named(Path(path)):
        header = _header(Path(path))
        if "Rows" in header and (header.get("SOPClassUID") in _ULTRASOUND or header.get("Modality") == "US"):
            return None
        kind = getattr(header.get("SOPClassUID"), "name", "") or "DICOM object"
        return f"{kind}, not an ultrasound image"


def count_us_frames(path: str | Path) -> int:
    """Returns how many frames an ultrasound object holds: 1 for a picture.

    Raises:
        BreastkitError: if the file is damaged or no ultrasound.
    """
    path = Path(path)
    reason = why_no_ultrasound(path)
    if reason is not None:
        raise BreastkitError(f"{path} holds a {reason}; export the ultrasound pictures themselves.")
    with _damage_named(path):
        count = int(_header(path).get("NumberOfFrames") or 1)
    if count < 1:
        raise BreastkitError(f"{path} says that it has {count} frames; export it again.")
    return count


def count_us_pixels(path: str | Path) -> int:
    """Returns how many pixels a frame of an ultrasound object has by its header.

    Raises:
        BreastkitError: if the file is damaged.
    """
    with _damage_named(Path(path)):
        header = _header(Path(path), all_tags=True)
        return int(header.Rows) * int(header.Columns)


def read_us_frame(path: str | Path, frame: int = 0) -> NDArray[Any]:
    """Reads one frame of an ultrasound object as 8-bit gray, rows by columns; colour becomes its luminance.

    Args:
        path: the file.
        frame: which one, from 0. Only this frame is decoded, so that a clip is never in memory as a whole.

    Raises:
        BreastkitError: if the file is damaged, no ultrasound, compressed in an unknown way or has no such frame.
    """
    with _damage_named(Path(path)):
        pixels, header = _frame(Path(path), frame)
        return _gray8(pixels, header)


def read_us_colour_share(path: str | Path, frame: int = 0) -> float:
    """Returns the share of the pixels of a frame that are clearly not gray; a gray object is not decoded for it.

    Args:
        path: the file.
        frame: which one, from 0.

    Raises:
        BreastkitError: as `read_us_frame`.
    """
    with _damage_named(Path(path)):
        header = _header(Path(path), all_tags=True)
        if header.get("SamplesPerPixel", 1) == 1 and header.get("PhotometricInterpretation") != "PALETTE COLOR":
            return 0.0
        pixels, header = _frame(Path(path), frame)
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            pixels = pydicom.pixels.apply_color_lut(pixels, header)
        return colour_share(pixels)


def us_tissue_window(path: str | Path) -> tuple[slice, slice]:
    """Returns the rows and columns of an ultrasound object that show tissue, all of them where it does not say.

    What machines show around it (names, scales, body marks) is no tissue, and networks have not learnt from it.

    Raises:
        BreastkitError: if the file is damaged.
    """
    everything = slice(None), slice(None)
    with _damage_named(Path(path)):
        header = _header(Path(path), all_tags=True)
        regions = [
            region
            for region in header.get("SequenceOfUltrasoundRegions") or ()
            if (region.get("RegionSpatialFormat"), region.get("RegionDataType")) == _TISSUE_2D
        ]
        # Side by side, several of them are several views: only a single one is clearly the picture.
        if len(regions) != 1:
            return everything
        try:
            left, right = int(regions[0].RegionLocationMinX0), int(regions[0].RegionLocationMaxX1)
            top, bottom = int(regions[0].RegionLocationMinY0), int(regions[0].RegionLocationMaxY1)
        except (AttributeError, TypeError, ValueError):
            return everything
        fits = 0 <= left < right < int(header.Columns) and 0 <= top < bottom < int(header.Rows)
        return (slice(top, bottom + 1), slice(left, right + 1)) if fits else everything


def _frame(path: Path, frame: int) -> tuple[NDArray[Any], Dataset]:
    """Decodes one frame alone and returns it with the header."""
    frames = count_us_frames(path)
    if not 0 <= frame < frames:
        raise BreastkitError(f"{path} has {frames} frames and no frame {frame + 1}; choose one of these.")
    header = _header(path, all_tags=True)
    try:
        refuse_too_many(header, str(path), encoded=encoded_frame_of(path, frame))
        pixels = pixel_array(path, index=frame)
    except READ_ERRORS as error:
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax is not None and syntax.is_compressed:
            raise BreastkitError(
                f"{path} cannot be decoded ({syntax.name}): it is damaged or no installed decoder reads it; "
                "export it uncompressed (dcmdjpeg or gdcmconv do that)."
            ) from error
        raise BreastkitError(f"{path} is truncated or damaged; export it again.") from error
    return pixels, header


def _gray8(pixels: NDArray[Any], header: Dataset) -> NDArray[Any]:
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = pydicom.pixels.apply_color_lut(pixels, header)
    pixels = pixels.astype(np.float32)
    if pixels.ndim == 3:
        pixels = pixels[..., :3] @ np.array(_LUMINANCE, np.float32)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 255:
        # Few objects of more than eight bits use their whole range.
        pixels = (pixels - low) * (255.0 / (high - low))
    return pixels.round().astype(np.uint8)


def _header(path: Path, *, all_tags: bool = False) -> Dataset:
    if not is_dicom(path):
        raise BreastkitError(f"{path} is not a DICOM file although it is named so; export it again.")
    with _damage_named(path):
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=None if all_tags else _HEADER_TAGS)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Names the file where pydicom fails, which reads a value no earlier than it is asked for."""
    try:
        yield
    except READ_ERRORS as error:
        raise BreastkitError(f"{path} is damaged and cannot be read; export it again.") from error
