"""Messages of several parts (multipart/related, RFC 2387), as DICOMweb sends and receives them.

requests-toolbelt, which writes forms (multipart/form-data), does not do here. Its encoder writes nothing else and wants
every part before the first is sent; its decoder takes a body that was cut off for a whole one, and fails at what a
client may write before the first boundary. dicomweb-client always sends one boundary, which an object may hold.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator

from breastkit.errors import BreastkitError

_DICOM = "application/dicom"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{1,70}")


def parameters_of(header: str) -> tuple[str, dict[str, str]]:
    """Splits a header such as ``multipart/related; type="application/dicom"`` into its value and its parameters."""
    value, *rest = re.split(r";(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", header)
    pairs = (part.partition("=") for part in rest)
    return value.strip().lower(), {name.strip().lower(): text.strip().strip('"') for name, _, text in pairs}


def split_parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Returns media type and content of each part of a message.

    Raises:
        BreastkitError: if the body is no such message.
    """
    kind, parameters = parameters_of(content_type)
    boundary = parameters.get("boundary", "")
    if kind != "multipart/related" or not _BOUNDARY.fullmatch(boundary):
        raise BreastkitError("The body is not multipart/related with a boundary; send the objects as parts of one.")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if len(pieces) < 3 or not pieces[-1].lstrip(b" \t").startswith(b"--"):
        raise BreastkitError("The body ends before its last boundary; send it again.")
    return [_part(piece) for piece in pieces[1:-1]]


def dicom_objects_in(content_type: str, body: bytes) -> list[bytes] | None:
    """Returns the DICOM objects of a message that stores some, None if its header says that it holds other things.

    Raises:
        BreastkitError: if there are none, or others too.
    """
    kind, parameters = parameters_of(content_type)
    if kind == _DICOM:
        return [body]
    if kind != "multipart/related" or parameters.get("type", _DICOM) != _DICOM:
        return None
    parts = split_parts(content_type, body)
    if not parts or any(kind not in ("", _DICOM) for kind, _ in parts):
        raise BreastkitError(f"The body holds no parts of {_DICOM}, or others too; send such parts alone.")
    return [data for _, data in parts]


def _part(piece: bytes) -> tuple[str, bytes]:
    # White space may follow a boundary on its line.
    piece = piece.lstrip(b" \t")
    if piece.startswith(b"\r\n\r\n"):
        return "", piece[4:]
    header, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        raise BreastkitError("A part of the body has no empty line after its headers; send it again.")
    for line in header.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return parameters_of(value)[0], content
    return "", content


class PartsWriter:
    """Writes parts one after the other.

    Args:
        kind: media type of the parts, which the message names.
    """

    def __init__(self, kind: str) -> None:
        self.boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; type="{kind}"; boundary="{self.boundary}"'

    def write(self, parts: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
        """Yields the message; every part comes with its media type."""
        for kind, data in parts:
            yield f"--{self.boundary}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            yield data
            yield b"\r\n"
        yield f"--{self.boundary}--\r\n".encode()
