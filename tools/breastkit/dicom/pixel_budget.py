"""How much a DICOM object may decode to: asked of its headers, before anything is decoded.

A file of some kilobytes can say that it holds gigabytes, in its own header or in that of its compressed frames, which
need not agree.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import UID, JPEGLSLossless, JPEGLSNearLossless, RLELossless

from breastkit.errors import BreastkitError
from breastkit.images import MOST_PIXELS

# Bytes that one request may decode to, all frames together.
MOST_BYTES = 2**28
# What a compressed frame may be longer than the same frame without compression.
_BESIDE = 2**16
_JPEG_LS_FRAME, _NO_LENGTH = 0xFFF7, frozenset((0xFFD8, *range(0xFFD0, 0xFFD8)))


class TooManyPixelsError(BreastkitError):
    """What is asked for would not fit into memory beside the requests of others."""


def bytes_of_frame(header: Dataset) -> int:
    """Returns how many bytes a frame has when it is decoded."""
    bits = int(header.get("BitsAllocated") or 8)
    return int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel") or 1) * max(1, bits // 8)


def refuse_too_many(header: Dataset, name: str, *, frames: int = 1, encoded: Iterable[bytes] = ()) -> None:
    """Refuses what would decode to more pixels than a picture may have, or more bytes than a request may.

    Args:
        header: of the object.
        name: of the object, for the sentence.
        frames: how many of its frames are to be decoded.
        encoded: those frames, where they are compressed.

    Raises:
        TooManyPixelsError: if it would.
    """
    pixels, size = int(header.Rows) * int(header.Columns), bytes_of_frame(header)
    if pixels > MOST_PIXELS:
        raise TooManyPixelsError(f"{name} has {pixels} pixels a frame, too many to decode; ask for it as it is stored.")
    if frames * size > MOST_BYTES:
        raise TooManyPixelsError(
            f"{frames} frames of {name} are {frames * size // 2**20} MiB, too many at once; ask for fewer."
        )
    syntax = UID(str(header.file_meta.TransferSyntaxUID))
    for frame in encoded:
        if len(frame) > 2 * size + _BESIDE or _stated_size(frame, syntax, size) > max(pixels, size):
            raise TooManyPixelsError(f"{name} has compressed frames larger than its header says; export it again.")


def encoded_frames(dataset: Dataset) -> Iterator[bytes]:
    """Yields the frames of an object that was read, as they are stored; none where they are not compressed."""
    if UID(str(dataset.file_meta.TransferSyntaxUID)).is_encapsulated:
        count = int(dataset.get("NumberOfFrames") or 1)
        for number in range(count):
            yield get_frame(dataset.PixelData, number, number_of_frames=count)


def encoded_frame_of(path: Path, number: int) -> Iterator[bytes]:
    """Yields one frame of a file, from 0, as it is stored; none where frames are not compressed."""
    with path.open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        if UID(str(header.file_meta.TransferSyntaxUID)).is_encapsulated:
            # Tag, representation and undefined length stand before the table of offsets.
            file.seek(12, os.SEEK_CUR)
            yield get_frame(file, number, number_of_frames=int(header.get("NumberOfFrames") or 1))


def _stated_size(frame: bytes, syntax: UID, size: int) -> int:
    """Returns pixels, or of RLE bytes, that a compressed frame decodes to by what stands in it."""
    if syntax == RLELossless:
        return _rle_bytes(frame, size)
    if syntax in (JPEGLSLossless, JPEGLSNearLossless):
        return _jpeg_ls_pixels(frame)
    from PIL import Image

    try:
        with Image.open(BytesIO(frame)) as picture:
            return picture.width * picture.height
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError("A compressed frame is too large to decode; ask for it as it is stored.") from error


def _jpeg_ls_pixels(frame: bytes) -> int:
    at = 0
    while True:
        (marker,) = struct.unpack_from(">H", frame, at)
        if marker == _JPEG_LS_FRAME:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return int(rows) * int(columns)
        at += 2 if marker in _NO_LENGTH else 2 + int(struct.unpack_from(">H", frame, at + 2)[0])


def _rle_bytes(frame: bytes, most: int) -> int:
    """Returns how many bytes a frame of RLE decodes to, or any number beyond `most`."""
    count = int(struct.unpack_from("<L", frame)[0])
    starts = [*struct.unpack_from(f"<{min(count, 15)}L", frame, 4), len(frame)]
    held = 0
    for start, end in pairwise(starts):
        at = start
        while at < end and held <= most + _BESIDE:
            # A run of one byte, a row of bytes as they are, or nothing.
            code = frame[at]
            held += 257 - code if code > 128 else code + 1 if code < 128 else 0
            at += 2 if code > 128 else code + 2 if code < 128 else 1
    return max(0, held - _BESIDE)
