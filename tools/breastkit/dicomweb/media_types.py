"""What a client accepts, as far as DICOMweb needs it: which parts, in which transfer syntax."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from breastkit.dicomweb.multipart_related import parameters_of

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Accepted:
    """One thing a client accepts.

    Attributes:
        kind: media type, of the parts where there are several.
        several: True as parts of a message, False alone, None if it does not matter.
        syntax: transfer syntax, ``*`` for any, empty if it was not said.
    """

    kind: str
    several: bool | None
    syntax: str


def accepted_by(header: str) -> list[Accepted]:
    """Reads an Accept header; an empty one accepts everything."""
    found = []
    for item in re.split(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", header or "*/*"):
        kind, parameters = parameters_of(item)
        syntax = parameters.get("transfer-syntax", "")
        if kind == "multipart/related":
            found.append(Accepted(parameters.get("type", "*/*").lower(), True, syntax))
        elif kind in ("*/*", "multipart/*"):
            found.append(Accepted("*/*", None, syntax))
        else:
            found.append(Accepted(kind, False, syntax))
    return found


def fits(kind: str, accepted: str) -> bool:
    """Tells whether a media type is one that is accepted: ``image/jpeg`` is ``image/*``."""
    group = accepted.partition("/")[0]
    return accepted in (kind, "*/*", "*/") or (accepted in (f"{group}/*", f"{group}/") and kind.startswith(f"{group}/"))


def should_decompress(accepted: Iterable[Accepted], served: str) -> bool | None:
    """Tells whether pixels must be decompressed for a client, None if it accepts neither form.

    Args:
        accepted: what fits of what it accepts.
        served: transfer syntax in which the object goes out if it is not decompressed.
    """
    syntaxes = {one.syntax for one in accepted}
    if syntaxes & {"", "*", served}:
        return False
    return True if EXPLICIT_LITTLE_ENDIAN in syntaxes else None
