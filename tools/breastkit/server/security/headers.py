"""What every answer tells browsers: what a page may load, that nobody frames it, and that data are not kept."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from breastkit.server.security.access import path_of

_EVERYWHERE = "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
# Our own pages have their style and their few lines of script inside, and pictures as data.
_PAGES = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'"
)
# Gradio makes functions of text and has its styles inside; it too loads from here alone.
GRADIO = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'"
)
# OHIF compiles WebAssembly, makes functions of text and starts workers from blobs; it too loads from here alone.
_OHIF = (
    "default-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:"
)
# Files that are the same for everybody, and may be kept.
_KEPT = ("/ohif", "/favicon.ico")


class AnswerHeaders:
    """Adds headers to every answer.

    Args:
        app: the application.
        pages: what its pages may load and run.
    """

    def __init__(self, app: ASGIApp, *, pages: str = _PAGES) -> None:
        self.app, self.pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = path_of(scope)

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                policy = _OHIF if path.startswith("/ohif") else self.pages
                headers["Content-Security-Policy"] = f"{policy}; {_EVERYWHERE}"
                if not path.startswith(_KEPT):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with)
