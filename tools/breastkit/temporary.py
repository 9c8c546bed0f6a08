"""Temporary folders that a killed process leaves behind only until the next one starts."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "breastkit-temporary-"
# Between being made and being locked a folder looks abandoned.
_YOUNG_SECONDS = 60.0


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Yields a folder only this user can read, which is removed at the end.

    It is locked meanwhile: the system takes the lock from a process that dies, however it dies, and
    `remove_abandoned_folders` knows by that.

    Args:
        purpose: a word for its name.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned_folders() -> None:
    """Removes the temporary folders of processes that were killed; they may hold images of patients."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Those of other users cannot be opened, those in use not be locked, and another process may do the same.
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if time.time() - os.fstat(lock).st_mtime > _YOUNG_SECONDS:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
