"""Matching of DICOM attributes as DICOMweb queries ask for it (PS3.18, 8.3.4): exact, lists, wildcards, ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from breastkit.errors import BreastkitError

_WITH_WILDCARDS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS"}
# What people type: upper and lower case are the same.
_OF_ANY_CASE = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
_RANGES = {"DA", "TM", "DT"}
_NUMBERS = {"IS", "DS", "US", "UL", "SS", "SL", "FL", "FD"}
_RANGE = re.compile(r"(?P<first>[0-9.:+]*)-(?P<last>[0-9.:+]*)")


def attribute_named(name: str) -> tuple[str, str]:
    """Returns the tag, as DICOM JSON writes it, and the value representation of an attribute.

    Args:
        name: a keyword (``PatientID``) or a tag (``00100020``).

    Raises:
        BreastkitError: if DICOM has no such attribute.
    """
    tag = int(name, 16) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else tag_for_keyword(name)
    if tag is None or not keyword_for_tag(tag):
        raise BreastkitError(f"'{name[:64]}' is no attribute of DICOM; write its keyword or its tag of eight digits.")
    return f"{tag:08X}", dictionary_VR(tag)


def matches(attributes: Mapping[str, Any], tag: str, vr: str, wanted: str, *, fuzzy: bool = False) -> bool:
    """Tells whether a header matches one filter.

    Args:
        attributes: the header as DICOM JSON.
        tag: of the attribute.
        vr: its value representation.
        wanted: what is asked for; empty and ``*`` match everything.
        fuzzy: whether a name matches when each word asked for begins one of its words.
    """
    if wanted in ("", "*"):
        return True
    values = [_text(value) for value in attributes.get(tag, {}).get("Value", []) if value is not None]
    if vr == "UI":
        return any(value in re.split(r"[\\,]", wanted) for value in values)
    return any(_is_like(value, wanted, vr, fuzzy) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "=".join(str(value.get(form, "")) for form in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return str(value)


def _is_like(value: str, wanted: str, vr: str, fuzzy: bool) -> bool:
    if vr in _RANGES:
        return _in_range(value, wanted)
    if vr in _NUMBERS:
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    if vr in _OF_ANY_CASE:
        value, wanted = value.casefold(), wanted.casefold()
    if vr == "PN":
        return _is_name(value, wanted, fuzzy)
    return _is_pattern(value, wanted, vr in _WITH_WILDCARDS)


def _in_range(value: str, wanted: str) -> bool:
    span = _RANGE.fullmatch(wanted)
    if span is None:
        return value == wanted
    first, last = span["first"], span["last"]
    # A shorter end of a range means all that begins with it.
    return (not first or value >= first) and (not last or value[: len(last)] <= last)


def _is_name(value: str, wanted: str, fuzzy: bool) -> bool:
    if fuzzy and not set("*?") & set(wanted):
        words = re.split(r"[\s^=,]+", value)
        return all(any(word.startswith(part) for word in words) for part in re.split(r"[\s^=,]+", wanted) if part)
    # Doe^Jane asks for the first of three groups; trailing separators mean nothing.
    return any(_is_pattern(group.rstrip("^ "), wanted.rstrip("^ "), True) for group in (value, *value.split("=")))


def _is_pattern(value: str, wanted: str, wildcards: bool) -> bool:
    if not wildcards or not set("*?") & set(wanted):
        return value.strip() == wanted.strip()
    position = 0
    pieces = re.split(r"\*+", wanted)
    if len(pieces) == 1:
        return len(value) == len(wanted) and _same(value, wanted)
    # Piece by piece, because a regular expression of many stars may take for ever.
    if not _same(value[: len(pieces[0])], pieces[0]):
        return False
    position = len(pieces[0])
    for piece in pieces[1:-1]:
        while position + len(piece) <= len(value) and not _same(value[position : position + len(piece)], piece):
            position += 1
        if position + len(piece) > len(value):
            return False
        position += len(piece)
    end = len(value) - len(pieces[-1])
    return end >= position and _same(value[end:], pieces[-1])


def _same(value: str, piece: str) -> bool:
    return len(value) == len(piece) and all(b in ("?", a) for a, b in zip(value, piece, strict=True))
