"""Which DICOM objects were read: their identifiers, each with a hash of its file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pydicom

from breastkit.dicom.read_errors import READ_ERRORS


def instance_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Returns the sha256 of DICOM files by their SOPInstanceUID; a file too damaged to tell it stands by its name."""
    found = {}
    for path in files:
        with path.open("rb") as stream:
            try:
                header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
                uid = str(header.get("SOPInstanceUID") or path.name)
            except READ_ERRORS:
                uid = path.name
            stream.seek(0)
            found[uid] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
