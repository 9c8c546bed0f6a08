"""One server writes to a folder of labels: two would overwrite what the other has answered for."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from breastkit.errors import BreastkitError
from breastkit.logs import get_logger

_NAME = ".lock"
_log = get_logger(__name__)


class FolderLock:
    """Holds a folder until it is released or the process ends, however it ends.

    Args:
        folder: which one; it says who holds it in its file ``.lock``.

    Raises:
        BreastkitError: if another server holds it, or the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / _NAME
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise BreastkitError(
                f"{folder} cannot be written ({error.strerror}); make it writable or start with --read-only."
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner_in(path)
            self._file.close()
            raise BreastkitError(
                f"{folder} is in use by another server{owner}; stop that one, or start this one with --read-only."
            ) from error
        except OSError as error:
            # Some network file systems know no locks.
            _log.warning("%s cannot be locked (%s): let no other server write to it.", folder, error.strerror)
        self._file.truncate(0)
        self._file.write(json.dumps(_this_process()))
        self._file.flush()

    def release(self) -> None:
        """Lets others have the folder."""
        self._file.close()


def _this_process() -> dict[str, str | int]:
    user = ""
    # A process in a container may belong to nobody who has a name.
    with suppress(KeyError, OSError):
        user = getpass.getuser()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": socket.gethostname(), "user": user, "since": now}


def _owner_in(path: Path) -> str:
    """Returns who holds a folder, in brackets; empty where its file does not say."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return f" (process {said['process']} of {said['user'] or 'nobody'} on {said['host']}, since {said['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
