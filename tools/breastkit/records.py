"""Records: JSON files that are read for years. One that is damaged is set aside, never deleted, and stops nobody.

What is set aside lies beside its place under its own name with ``.damaged`` after it, so that whoever looks after the
folder finds it there. The version before is used in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from breastkit.atomic import write_json
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger

Record = TypeVar("Record")
DAMAGED = ".damaged"
_BEFORE = ".before"
_log = get_logger(__name__)


def read_record(path: Path, parse: Callable[[Any], Record]) -> Record | None:
    """Returns what a record says, by the version before where it is damaged; None where there is neither.

    Args:
        path: the JSON file.
        parse: makes of its content what is wanted; raises what Python does where that is of another form.
    """
    record = _read(path, parse)
    before = path.with_name(path.name + _BEFORE)
    if record is None and before.exists() and (record := _read(before, parse)) is not None:
        # So that it is what is in use from now on; where nothing can be written it is read again next time.
        with suppress(BreastkitError):
            write_json(path, json.loads(before.read_text(encoding="utf-8")))
    return record


def write_record(path: Path, value: Any) -> Path:
    """Writes a record and keeps the version before, for `read_record` to fall back on; returns the path."""
    known = _read(path, lambda content: content)
    if known is not None:
        write_json(path.with_name(path.name + _BEFORE), known)
    return write_json(path, value)


def set_aside(path: Path, why: str = "it is damaged") -> None:
    """Moves what stands where a record should be out of the way, and says so in the log."""
    place = path.with_name(path.name + DAMAGED)
    number = 1
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}{DAMAGED}-{number}")
    shown = f"{path.parent.name}/{path.name}"
    try:
        path.rename(place)
    except FileNotFoundError:
        # Another thread was faster.
        return
    except OSError as error:
        _log.warning("%s is left aside, as %s; it cannot be renamed (%s).", shown, why, error.strerror)
        return
    _log.warning("%s is set aside as %s, as %s; the version before it is used.", shown, place.name, why)


def set_aside_in(folder: Path, patterns: Iterable[str]) -> list[str]:
    """Returns the names, below a folder, of what was set aside.

    Args:
        folder: where to look.
        patterns: of the folders in it that hold records, as `pathlib` takes them.
    """
    found = (path for pattern in patterns for path in folder.glob(f"{pattern}/*{DAMAGED}*"))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _read(path: Path, parse: Callable[[Any], Record]) -> Record | None:
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IsADirectoryError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        set_aside(path)
    except OSError as error:
        # The disk or its rights, not what stands in it.
        _log.warning("%s/%s cannot be read (%s).", path.parent.name, path.name, error.strerror)
    return None
