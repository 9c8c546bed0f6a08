"""What the codes of a clinical column mean, as the workbook itself spells it out: ``{0 = neg, 1 = pos}``."""

from __future__ import annotations

import re
from collections.abc import Collection

# What stands for nothing known, in cells and as the meaning of a code; letter case does not matter.
MISSING = frozenset({"", "na", "n/a", "n.a.", "nc", "np", "nan", "none", "null", "unknown", "not available", "-", "?"})
_KEY = re.compile(r"(?:^|(?<=[\s,;{(\[]))(-?\w+(?:\.\d+)?)\s*=\s*")
_CODE = re.compile(r"=\s*(-?\w+(?:\.\d+)?)")
_AROUND = " \t\r\n,;{}[]*"


def is_missing(value: object) -> bool:
    """Tells whether a cell holds nothing known."""
    return value is None or value != value or str(value).strip().lower() in MISSING


def meanings(text: str, seen: Collection[str]) -> dict[str, str]:
    """Returns what the codes of a column mean; empty where a text does not say so.

    Workbooks write both ``0 = neg, 1 = pos`` and ``GE=0, SIEMENS=2``: the reading that explains more of the codes that
    the column holds is the one meant.

    Args:
        text: the explanation.
        seen: the codes that the column holds.
    """
    readings = (_code_first(text), _code_last(text))
    return max(readings, key=lambda reading: sum(code in reading for code in seen))


def _code_first(text: str) -> dict[str, str]:
    keys = list(_KEY.finditer(text))
    ends = [*(key.start() for key in keys[1:]), len(text)][: len(keys)]
    found: dict[str, str] = {}
    for key, end in zip(keys, ends, strict=True):
        # A remark in the lines below a list of codes is none of them.
        label = text[key.end() : end].strip(_AROUND).partition("\n")[0].strip(_AROUND)
        if label:
            found.setdefault(key[1], label)
    return found


def _code_last(text: str) -> dict[str, str]:
    found, start = {}, 0
    for code in _CODE.finditer(text):
        label = text[start : code.start()].strip(_AROUND)
        start = code.end()
        if label:
            found[code[1]] = label
    return found
