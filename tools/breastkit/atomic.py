"""Writing that is all or nothing: into a temporary name beside the target, then renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from breastkit.errors import BreastkitError

_recorded: ContextVar[dict[Path, None] | None] = ContextVar("recorded", default=None)

# What a killed process leaves behind starts with this and may be removed.
TEMPORARY_PREFIX = ".writing-"

_REMEDIES = {
    errno.ENOSPC: "no space is left on the device; free some or choose another output folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another output folder",
    errno.EACCES: "the folder is not writable; change its permissions or choose another output folder",
    errno.EPERM: "the folder is not writable; change its permissions or choose another output folder",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another output folder",
    errno.EEXIST: "a file stands where a folder is needed; choose another output folder",
}


@contextmanager
def _write_errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        raise BreastkitError(f"{path} could not be written: {_REMEDIES[error.errno]}.") from error


def make_folder(path: str | Path) -> Path:
    """Makes a folder with its parents and returns it.

    Raises:
        BreastkitError: if it cannot be made.
    """
    path = Path(path)
    with _write_errors_named(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def refuse_unwritable(folder: str | Path) -> None:
    """Makes sure, before hours of work, that a folder can be written or made; nothing is made yet.

    Raises:
        BreastkitError: if it cannot.
    """
    folder = Path(folder)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with _write_errors_named(folder):
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "", str(existing))
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "", str(existing))


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` when the block ends well and disappears when it does not.

    The temporary name keeps the suffixes, because many writers choose the format by them.

    Args:
        path: the file to write; missing parent folders are made.

    Raises:
        BreastkitError: if there is no space or the folder is not writable.
    """
    path = Path(path)
    make_folder(path.parent)
    with _write_errors_named(path):
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix="".join(path.suffixes[-2:]), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes the file private; a result is as readable as any other file of this user.
            temporary.chmod(0o666 & ~_umask())
            _flush(temporary)
            temporary.replace(path)
            _record(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` when the block ends well and disappears when it does not.

    Raises:
        BreastkitError: if `path` exists with something in it, or cannot be written.
    """
    path = Path(path)
    if path.is_dir() and any(path.iterdir()):
        raise BreastkitError(f"{path} is not empty; choose another folder or remove it first.")
    make_folder(path.parent)
    with _write_errors_named(path):
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            temporary.replace(path)
            _record(*sorted(found for found in path.rglob("*") if found.is_file()))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def recorded_writes() -> Iterator[dict[Path, None]]:
    """Yields the files that are written here until the block ends, in order, each once."""
    written: dict[Path, None] = {}
    token = _recorded.set(written)
    try:
        yield written
    finally:
        _recorded.reset(token)


def _record(*paths: Path) -> None:
    written = _recorded.get()
    if written is not None:
        written.update(dict.fromkeys(paths))


@contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder that takes the place of `path` when the block ends well, and disappears otherwise.

    Its name is that of `path` with a prefix, so that whoever writes the same folder again removes what a killed process
    left. Two processes must not write one folder at a time.

    Raises:
        BreastkitError: if it cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = unfinished(path)
    with _write_errors_named(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
            _record(*sorted(found for found in path.rglob("*") if found.is_file()))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    flush_names(path.parent)


def unfinished(path: Path) -> Path:
    """Returns where `replaced_folder` writes until a folder is whole."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}")


def remove_unfinished(path: Path) -> None:
    """Removes what a killed process was writing by `replaced_folder`."""
    shutil.rmtree(unfinished(path), ignore_errors=True)


def remove_leftovers(folder: str | Path, *, untouched_for: float = 0.0) -> None:
    """Removes what killed processes were writing directly in a folder.

    Args:
        folder: where to look; need not exist.
        untouched_for: leave alone what was written to within so many seconds, where another process may be at work.
    """
    for path in Path(folder).glob(f"{TEMPORARY_PREFIX}*"):
        # Another process may have finished or removed it meanwhile.
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= untouched_for:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def flush_names(folder: Path) -> None:
    """Has the names in a folder written to the disk, where renamed files else follow seconds after their content."""
    if os.name == "posix":
        # Some network file systems cannot, and keep names in their own way.
        with suppress(OSError):
            _flush(folder)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file in one piece and returns its path.

    Records are such files, and the last to be written: once one is there, it and what lies beside it outlast a power
    failure. Pictures and volumes alone are not worth the wait.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    flush_names(Path(path).parent)
    return Path(path)


def write_json(path: str | Path, value: Any) -> Path:
    """Writes a JSON file in one piece and returns its path."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_figures(path: str | Path, figures: Mapping[str, Any]) -> Path:
    """Writes measured figures as JSON: five digits behind the point, intervals as lists, what is no number as null."""
    return write_json(path, _plain(figures))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
