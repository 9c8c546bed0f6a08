"""The server under a path of a reverse proxy, as ``https://hospital.example/breast/``."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from breastkit.errors import BreastkitError

_PATH = re.compile(r"(/[A-Za-z0-9_~][A-Za-z0-9._~-]*)+")


def check_root_path(path: str) -> str:
    """Returns a path as it stands before the server's own, without a slash at its end.

    Raises:
        BreastkitError: if it is none.
    """
    found = path.rstrip("/")
    if not _PATH.fullmatch(found):
        raise BreastkitError(f"'{path[:80]}' is no path; give --root-path one such as /breast.")
    return found


class UnderPath:
    """Tells an application under which path it is reached, whether the proxy passes that path on or takes it off.

    Args:
        app: the application.
        root: the path, as ``/breast``.

    Raises:
        BreastkitError: if it is no path.
    """

    def __init__(self, app: ASGIApp, *, root: str) -> None:
        self.app, self.root = app, check_root_path(root)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == self.root:
                path += "/"
            elif not path.startswith(f"{self.root}/"):
                path = self.root + path
            scope = {**scope, "path": path, "root_path": self.root}
        await self.app(scope, receive, send)
