"""Who asked what, and what came of it: one line of JSON for each request, without names of patients.

A line holds neither the address nor a parameter nor a header of the request as it came: of the address only which
endpoint it is of, and of the image a keyed hash, the same for the same image, which says nothing to whoever lacks the
key.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import logging
import os
import secrets
import time
import warnings
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from breastkit.atomic import make_folder
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.security.access import USER, path_of
from breastkit.server.security.download_links import without_link
from breastkit.server.security.rules import OTHER, RULES

AUDIT_FOLDER = ".audit"
AUDIT_FILE = "requests.jsonl"
_LARGEST_FILE = 16 * 2**20
_KEPT_FILES = 20
_KEY_BYTES = 32
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
# By these names addresses and parameters say which image; the first that is there counts.
_IMAGE_PARAMETERS = ("image", "label")
_IMAGE_PARTS = ("series", "study")

_log = get_logger(__name__)


def keep_names_out_of_logs() -> None:
    """Has this process log neither addresses of requests, which name images, nor values of DICOM headers."""
    logging.getLogger("uvicorn.access").disabled = True
    # pydicom tells the whole of a value that is not as the standard has it, in both ways; it sets its own level.
    logging.getLogger("pydicom").disabled = True
    warnings.filterwarnings("ignore", module=r"pydicom\.")


class AuditLog:
    """Appends lines to a file that only its owner may read; full files are kept beside it, the oldest removed.

    Args:
        folder: made when missing; the key of the hashes is kept in it too.
        largest: bytes after which a new file is begun.
        kept: how many full files are kept.

    Raises:
        BreastkitError: if the folder cannot be written.
    """

    def __init__(self, folder: str | Path, *, largest: int = _LARGEST_FILE, kept: int = _KEPT_FILES) -> None:
        self.path = make_folder(folder) / AUDIT_FILE
        try:
            self._key = _key_in(self.path.parent)
            self._file = _PrivateFile(self.path, maxBytes=largest, backupCount=kept, encoding="utf-8")
        except OSError as error:
            raise BreastkitError(
                f"{folder} cannot be written ({error.strerror}); make the folder of labels writable."
            ) from error

    def code_of(self, image: str) -> str:
        """Returns what stands for an image in the log."""
        return hmac.new(self._key, image.encode(errors="replace"), hashlib.sha256).hexdigest()[:16]

    def write(self, line: dict[str, Any]) -> None:
        """Appends a line."""
        self._file.handle(logging.makeLogRecord({"msg": json.dumps(line, ensure_ascii=False)}))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class _PrivateFile(RotatingFileHandler):
    def _open(self) -> io.TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        # Nobody waits for an answer because a disk is full; but it must not go unseen.
        _log.error("The log of requests cannot be written; free some space.")


def _key_in(folder: Path) -> bytes:
    path = folder / "key"
    if path.is_file() and len(key := path.read_bytes()) == _KEY_BYTES:
        return key
    key = secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key)
    return key


class Audited:
    """Writes a line for every request to an application.

    Args:
        app: the application.
        log: where to.
    """

    def __init__(self, app: ASGIApp, *, log: AuditLog) -> None:
        self.app, self.log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on and writes its line; a request that gets no answer has no status."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, written = time.perf_counter(), False
        # Mounted applications change the path on its way.
        path = path_of(scope)

        def write(status: int | None) -> None:
            nonlocal written
            if not written:
                written = True
                self.log.write(self._line(scope, path, status, 1000 * (time.perf_counter() - begun)))

        async def writing_first(message: Message) -> None:
            # Before the answer leaves: what was answered is in the log.
            if message["type"] == "http.response.start":
                write(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, writing_first)
        finally:
            write(None)

    def _line(self, scope: Scope, path: str, status: int | None, milliseconds: float) -> dict[str, Any]:
        template, parts = RULES.endpoint_of(path)
        given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        image = next((given[name] for name in _IMAGE_PARAMETERS if given.get(name)), None)
        image = without_link(image) if image else next((parts[name] for name in _IMAGE_PARTS if name in parts), None)
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user": scope.get(USER, ""),
            "address": (scope.get("client") or ("",))[0],
            "method": scope["method"] if scope["method"] in _METHODS else OTHER,
            "endpoint": template,
            "image": self.log.code_of(image) if image else None,
            "status": status,
            "ms": round(milliseconds, 1),
        }
