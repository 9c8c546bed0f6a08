"""Refusing files that grow on their way into memory: a few kilobytes of gzip can hold gigabytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from isal import isal_zlib

from breastkit.errors import BreastkitError
from breastkit.images import read_header

_GZIP = b"\x1f\x8b"
_PIECE = 2**20
# Beside the voxels: headers and what programs put after the last voxel.
BESIDE = 2**20
BYTES_PER_VOXEL = 8
# Networks need twenty bytes for each; 512 x 512 x 256, twice the largest breast MRI.
_MOST_VOXELS = 2**26


def refuse_larger(data: bytes, most: int) -> None:
    """Refuses gzip that holds more than so much, without keeping what it holds.

    Args:
        data: gzip, of any number of members.
        most: bytes.

    Raises:
        BreastkitError: if it holds more.
    """
    held = 0
    while data.startswith(_GZIP):
        member = isal_zlib.decompressobj(wbits=31)
        while data and not member.eof:
            held += len(member.decompress(data, _PIECE))
            data = member.unconsumed_tail
            if held > most:
                raise BreastkitError(f"It holds more than {most} bytes, more than its header says; save it again.")
        data = member.unused_data


def refuse_large_volume(path: Path) -> tuple[int, ...]:
    """Refuses a NIfTI file of more voxels than fit into memory beside other requests, and returns its shape.

    Raises:
        BreastkitError: if it has more, or is no NIfTI.
    """
    shape = read_header(path).shape
    voxels = int(np.prod([int(size) for size in shape], dtype=np.float64))
    if voxels > _MOST_VOXELS:
        raise BreastkitError(f"{path} has {voxels} voxels, more than any image here; crop it.")
    return shape


def refuse_growing_volume(path: Path) -> tuple[int, ...]:
    """Refuses a NIfTI file that holds more than its header says, and returns the shape that it says.

    Raises:
        BreastkitError: if it does, or is no NIfTI.
    """
    shape = refuse_large_volume(path)
    voxels = int(np.prod([int(size) for size in shape], dtype=np.float64))
    try:
        refuse_larger(path.read_bytes(), BYTES_PER_VOXEL * voxels + BESIDE)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub does not say that it is an exception
        raise BreastkitError(f"{path} is damaged; copy or export it again.") from error
    except BreastkitError as error:
        raise BreastkitError(f"{path} holds more than its header says; save it again.") from error
    return shape
