"""Ends connections whose client neither asks nor reads: thousands of them would leave no room for others.

uvicorn waits for ever for the end of a request's headers, and for a client to take its answer. How slowly the rest of a
request may come is `breastkit.server.security.request_limits`' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


class TimedConnection(AutoHTTPProtocol):  # type: ignore[valid-type, misc]  # uvicorn chooses it at import
    """A connection that ends when nothing happens on it.

    Attributes:
        seconds_to_ask: from the beginning, and from the last answer, to the end of the next request's headers.
        seconds_to_read: to take what was sent, when no more of it fits into the connection.
    """

    seconds_to_ask = 30.0
    seconds_to_read = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all waiting."""
        for timer in self._timers.values():
            timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        super().on_response_complete()
        self._wait_for_request()

    def pause_writing(self) -> None:
        """Begins to wait for the client to read."""
        super().pause_writing()
        self._end_later("read", self.seconds_to_read, lambda: True)

    def resume_writing(self) -> None:
        """Goes on: the client has read."""
        if timer := self._timers.pop("read", None):
            timer.cancel()
        super().resume_writing()

    def _wait_for_request(self) -> None:
        cycle = self.cycle
        self._end_later("ask", self.seconds_to_ask, lambda: self.cycle is cycle)

    def _end_later(self, why: str, seconds: float, still: Callable[[], bool]) -> None:
        def end() -> None:
            if still():
                self.transport.abort()

        if timer := self._timers.pop(why, None):
            timer.cancel()
        self._timers[why] = self.loop.call_later(seconds, end)


def time_connections() -> None:
    """Makes every connection of uvicorn such a one, however uvicorn was started.

    MONAI Label's command has chosen the class of its connections before it loads the application, and offers no choice.
    """

    def new(kind: type, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(TimedConnection if kind is AutoHTTPProtocol else kind)

    AutoHTTPProtocol.__new__ = new  # type: ignore[method-assign, assignment]  # it inherits object's, as far as types go
