"""What HTTP calls the files that this server answers with."""

from __future__ import annotations

from pathlib import Path

_MEDIA_TYPES = {
    ".png": "image/png", ".gz": "application/gzip", ".dcm": "application/dicom", ".json": "application/json",
    ".zip": "application/zip",
}  # fmt: skip


def media_type_of(path: Path) -> str:
    """Returns the media type of a file by its suffix."""
    return _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
