"""Series that were made here, shown in the studies they were made of: a store of its own behind the same addresses.

Where the studies lie, in a folder or on another server, nothing of it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from breastkit.dicomweb.folder_index import FolderIndex
from breastkit.dicomweb.store import read_only_app

_SERIES = re.compile(r"/studies/(?P<study>[0-9.]+)/series(/(?P<series>[0-9.]+)(/.*)?)?/?")


class WithDerivedSeries:
    """Adds series to those that an application answers with.

    Args:
        app: answers below `path` as DICOMweb does.
        derived: the index of the series to add.
        path: of the DICOMweb address.
    """

    def __init__(self, app: ASGIApp, derived: FolderIndex, path: str = "/dicom-web") -> None:
        self._app, self._index, self._path = app, derived, path
        self._derived = read_only_app(derived)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers from the derived series where one is asked for, and lists them among the series of their study."""
        match = self._match(scope)
        if match is None or not self._index.find(match["study"], match["series"]):
            await self._app(scope, receive, send)
        elif match["series"]:
            await self._derived(self._below(scope), receive, send)
        else:
            await self._listed(scope, receive, send)

    def _match(self, scope: Scope) -> re.Match[str] | None:
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        path = _path_of(scope)
        return _SERIES.fullmatch(path.removeprefix(self._path)) if path.startswith(f"{self._path}/") else None

    def _below(self, scope: Scope) -> Scope:
        """Returns a request as an application gets it that is mounted where DICOMweb is."""
        return {**scope, "root_path": scope.get("root_path", "") + self._path}

    async def _listed(self, scope: Scope, receive: Receive, send: Send) -> None:
        found, own = _Answer(), _Answer()
        # Routers write into the scope that they are given.
        await self._app(dict(scope), receive, found)
        if found.status in (200, 204):
            await self._derived(self._below(scope), receive, own)
        if own.status == 200:
            found.replace([*(found.results() if found.status == 200 else []), *own.results()])
        await found.pass_on(send)


def _path_of(scope: Scope) -> str:
    """Returns the path below that of whoever mounted the application."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


class _Answer:
    """An answer that is kept instead of sent."""

    def __init__(self) -> None:
        self._start: MutableMapping[str, Any] = {"status": 0}
        self._body = b""

    @property
    def status(self) -> int:
        return int(self._start["status"])

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")

    def results(self) -> list[Any]:
        return list(json.loads(self._body))

    def replace(self, results: list[Any]) -> None:
        self._body = json.dumps(results).encode()
        headers = [(b"content-type", b"application/dicom+json"), (b"content-length", str(len(self._body)).encode())]
        kept = [one for one in self._start["headers"] if one[0].lower() not in (headers[0][0], headers[1][0])]
        self._start = {**self._start, "status": 200, "headers": [*kept, *headers]}

    async def pass_on(self, send: Send) -> None:
        await send(self._start)
        await send({"type": "http.response.body", "body": self._body})
