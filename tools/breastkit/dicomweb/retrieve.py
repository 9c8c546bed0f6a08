"""What a DICOMweb store gives out of a file: the object, its header as JSON, frames as stored, pictures to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.multival import MultiValue
from pydicom.pixels import apply_rescale, pack_bits, pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from breastkit.dicom.pixel_budget import (
    MOST_BYTES,
    TooManyPixelsError,
    bytes_of_frame,
    encoded_frame_of,
    encoded_frames,
    refuse_too_many,
)
from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.dicomweb.folder_index import Instance
from breastkit.errors import BreastkitError

# How frames of compressed objects are called (PS3.18, table 8.7.3-5).
_MEDIA_TYPES = {
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), "image/jpeg"),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), "image/jls"),
    **dict.fromkeys((JPEG2000Lossless, JPEG2000), "image/jp2"),
    RLELossless: "image/dicom-rle",
}
# Longer values (tables of colours are the longest a viewer needs) are left out of the JSON.
_LONGEST_BINARY = 256 * 1024


class UnreadableError(BreastkitError):
    """A file that was there is gone or damaged."""


class NotDecodableError(BreastkitError):
    """What is asked for needs a decoder that is not installed."""


@dataclass(frozen=True)
class Frame:
    """One frame as it goes over the wire.

    Attributes:
        data: the bytes.
        media_type: what they are.
        transfer_syntax: how they are encoded.
    """

    data: bytes
    media_type: str
    transfer_syntax: str


def metadata_of(instance: Instance) -> dict[str, Any]:
    """Returns the whole header as DICOM JSON, without pixels.

    Raises:
        UnreadableError: if the file is gone or damaged.
    """
    with _errors_named(instance):
        header = pydicom.dcmread(instance.path, stop_before_pixels=True)
        for element in list(header):
            if element.VR in ("OB", "OW", "OF", "OD", "OL", "OV", "UN") and len(element.value or b"") > _LONGEST_BINARY:
                del header[element.tag]
        found: dict[str, Any] = _finite(header.to_json_dict(suppress_invalid_tags=True))
    found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    # Viewers decide by it how to decode the frames.
    found["00083002"] = {"vr": "UI", "Value": [served_syntax(instance)]}
    return found


def served_syntax(instance: Instance) -> str:
    """Returns the transfer syntax in which an object is given out: as stored, but never implicit or big-endian."""
    stored = UID(instance.transfer_syntax)
    return str(stored) if stored.is_encapsulated else str(ExplicitVRLittleEndian)


def stored_frame_form(instance: Instance) -> tuple[str, str]:
    """Returns media type and transfer syntax of frames that are not decompressed."""
    served = served_syntax(instance)
    return _MEDIA_TYPES.get(UID(served), "application/octet-stream"), served


def object_of(instance: Instance, *, uncompressed: bool = False) -> bytes:
    """Returns the object as a DICOM file.

    Args:
        instance: what to read.
        uncompressed: decompress its pixels.

    Raises:
        UnreadableError: if the file is gone or damaged.
        NotDecodableError: if there is no decoder for its pixels.
    """
    stored = UID(instance.transfer_syntax)
    with _errors_named(instance):
        if stored == ExplicitVRLittleEndian or (stored.is_encapsulated and not uncompressed):
            return instance.path.read_bytes()
        dataset = pydicom.dcmread(instance.path)
    if stored.is_encapsulated:
        with _decoding_errors_named(instance):
            count = int(dataset.get("NumberOfFrames") or 1)
            refuse_too_many(dataset, instance.uid, frames=count, encoded=encoded_frames(dataset))
            dataset.decompress(generate_instance_uid=False)
    with _errors_named(instance):
        if stored == ExplicitVRBigEndian and int(dataset.get("BitsAllocated") or 8) > 8 and "PixelData" in dataset:
            width = int(dataset.BitsAllocated) // 8
            dataset.PixelData = np.frombuffer(dataset.PixelData, dtype=f"u{width}").byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = BytesIO()
        pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
        return file.getvalue()


def frames_of(instance: Instance, numbers: Sequence[int], *, uncompressed: bool = False) -> list[Frame]:
    """Returns frames as stored, uncompressed ones little-endian.

    Args:
        instance: what to read.
        numbers: which frames, from 1.
        uncompressed: decompress them.

    Raises:
        UnreadableError: if the file is gone or damaged or has no such frame.
        NotDecodableError: if there is no decoder for its pixels.
    """
    stored = UID(instance.transfer_syntax)
    with _errors_named(instance), instance.path.open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        pixels_at = file.tell()
        count = int(header.get("NumberOfFrames") or 1)
        if "Rows" not in header or any(not 1 <= number <= count for number in numbers):
            raise UnreadableError(
                f"{instance.uid} has {count if 'Rows' in header else 'no'} frames; ask for one of them."
            )
        if stored.is_encapsulated and not uncompressed:
            # Tag, representation and undefined length stand before the table of offsets.
            file.seek(pixels_at + 12)
            frames = [get_frame(file, number - 1, number_of_frames=count) for number in set(numbers)]
            by_number = dict(zip(set(numbers), frames, strict=True))
            _refuse_long_answer(instance, sum(len(by_number[number]) for number in numbers))
            return [Frame(by_number[number], *stored_frame_form(instance)) for number in numbers]
        _refuse_long_answer(instance, len(numbers) * bytes_of_frame(header))
        if not stored.is_encapsulated and stored not in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
            at = pixels_at + (8 if stored.is_implicit_VR else 12)
            frames = [_native_frame(file, header, number, at) for number in numbers]
            return [Frame(frame, "application/octet-stream", str(ExplicitVRLittleEndian)) for frame in frames]
    with _decoding_errors_named(instance):
        source = _decodable(instance)
        for number in numbers:
            refuse_too_many(header, instance.uid, encoded=encoded_frame_of(instance.path, number - 1))
        arrays = [pixel_array(source, index=number - 1, raw=True) for number in numbers]
    frames = [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays]
    return [Frame(frame, "application/octet-stream", str(ExplicitVRLittleEndian)) for frame in frames]


def _refuse_long_answer(instance: Instance, size: int) -> None:
    if size > MOST_BYTES:
        raise TooManyPixelsError(f"These frames of {instance.uid} are {size // 2**20} MiB; ask for fewer at once.")


def _decodable(instance: Instance) -> Path | Dataset:
    """Returns what pydicom decodes single frames from: the file, or all of it where the whole file is deflated."""
    deflated = instance.transfer_syntax == DeflatedExplicitVRLittleEndian
    return pydicom.dcmread(instance.path) if deflated else instance.path


def _native_frame(file: BinaryIO, header: Dataset, number: int, at: int) -> bytes:
    """Returns one frame of uncompressed pixels; frames of one bit a pixel need not begin at a byte."""
    bits = int(header.BitsAllocated) * int(header.SamplesPerPixel) * int(header.Rows) * int(header.Columns)
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    first, last = (number - 1) * bits, number * bits
    file.seek(at + first // 8)
    length = math.ceil(last / 8) - first // 8
    data = file.read(length)
    if len(data) != length:
        raise EOFError("the pixels are truncated")
    if bits % 8 == 0 and first % 8 == 0:
        return data
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[first % 8 :][:bits]
    return pack_bits(unpacked, pad=False)


def rendered(instance: Instance, number: int = 1, *, largest: int | None = None, kind: str = ".png") -> bytes:
    """Returns one frame as a picture to look at, in the window its header asks for.

    Args:
        instance: what to read.
        number: which frame, from 1.
        largest: longest side in pixels; None for the size it has.
        kind: ``.png`` or ``.jpg``.

    Raises:
        UnreadableError: if the file is gone or damaged or has no such frame.
        NotDecodableError: if there is no decoder for its pixels.
    """
    import cv2

    with _errors_named(instance):
        header = pydicom.dcmread(instance.path, stop_before_pixels=True)
        count = int(header.get("NumberOfFrames") or 1)
        if "Rows" not in header or not 1 <= number <= count:
            raise UnreadableError(
                f"{instance.uid} has {count if 'Rows' in header else 'no'} frames; ask for one of them."
            )
    with _decoding_errors_named(instance):
        refuse_too_many(header, instance.uid, encoded=encoded_frame_of(instance.path, number - 1))
        pixels = pixel_array(_decodable(instance), index=number - 1)
        pixels = pixels if pixels.ndim == 3 else _windowed(pixels, header)
    if largest is not None and max(pixels.shape[:2]) > largest:
        scale = largest / max(pixels.shape[:2])
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    # OpenCV wants blue first.
    return cv2.imencode(kind, pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def _windowed(pixels: NDArray[Any], header: Dataset) -> NDArray[Any]:
    if int(header.BitsAllocated) == 1:
        return (pixels * 255).astype(np.uint8)
    values = apply_rescale(pixels, header).astype(np.float32)
    centre, width = (_first_number(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width >= 1:
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    else:
        low, high = (0, 255) if pixels.dtype == np.uint8 else np.percentile(values, [0.5, 99.5])
    values = ((values - low) * (255 / max(high - low, 1e-9))).clip(0, 255).round().astype(np.uint8)
    return 255 - values if header.get("PhotometricInterpretation") == "MONOCHROME1" else values


def _first_number(value: Any) -> float | None:
    """Returns a number of the header; of several windows the first."""
    try:
        return float(value[0] if isinstance(value, MultiValue) else value)
    except (TypeError, ValueError, IndexError):
        return None


def _finite(value: Any) -> Any:
    """Returns JSON without the numbers that JSON has no way to write."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _errors_named(instance: Instance) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableError(f"{instance.uid} is gone from the folder; search again.") from error
    except READ_ERRORS as error:
        raise UnreadableError(f"{instance.uid} is truncated or damaged; export it again.") from error


@contextmanager
def _decoding_errors_named(instance: Instance) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableError(f"{instance.uid} is gone from the folder; search again.") from error
    except READ_ERRORS as error:
        name = UID(instance.transfer_syntax).name
        raise NotDecodableError(f"{instance.uid} ({name}) cannot be decoded; ask for it as it is stored.") from error
