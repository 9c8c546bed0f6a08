"""How many requests one client may send, how large they may be, and how long it may take over them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from breastkit.server.security.access import path_of
from breastkit.server.security.rules import RULES

# Larger bodies, and those that do not say how large they are, are uploads.
_UPLOAD = 2**20
_MOST_CLIENTS = 10_000


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the server; smaller limits of single endpoints stand in `rules.RULES`.

    Attributes:
        requests_per_minute: from one address. A viewer that loads an MRI study asks for a thousand frames in seconds.
        logins_per_minute: from one address.
        largest: bytes of a request.
        uploads: requests of more than a megabyte that are read and worked on at once, of all clients together.
        seconds_for_turn: how long an upload waits for its turn before it is asked to come back.
        seconds_to_send: how long a request may take to arrive, beside what its size allows.
        seconds_to_log_in: likewise, of requests that need no login, such as the login itself.
        slowest: bytes a second; a request of a megabyte may take so much longer.
    """

    requests_per_minute: int = 12_000
    logins_per_minute: int = 30
    largest: int = 512 * 2**20
    uploads: int = 4
    seconds_for_turn: float = 30.0
    seconds_to_send: float = 30.0
    seconds_to_log_in: float = 5.0
    slowest: int = 64 * 1024


class Rate:
    """Counts what every client does; nobody may do more than so much within a minute.

    Args:
        per_minute: how much.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left: dict[str, tuple[float, float]] = {}

    def seconds_to_wait(self, client: str) -> float:
        """Counts once more and returns 0, or counts nothing and returns when it will be allowed."""
        now = time.monotonic()
        left, when = self._left.pop(client, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - when) * self.per_minute / 60)
        allowed = left >= 1
        # At the end of the table: those that have not come for longest are forgotten first.
        self._left[client] = (left - allowed, now)
        if len(self._left) > _MOST_CLIENTS:
            del self._left[next(iter(self._left))]
        return 0.0 if allowed else (1 - left) * 60 / self.per_minute


def client_of(scope: Scope) -> str:
    """Returns the address of a client; of IPv6 the network, of which one client has all addresses."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else host


class RateLimits:
    """Answers clients that ask too often with 429.

    Args:
        app: the application.
        limits: how often is too often.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app = app
        self._requests, self._logins = Rate(limits.requests_per_minute), Rate(limits.logins_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request or passes it on."""
        if scope["type"] == "http":
            client = client_of(scope)
            wait = self._requests.seconds_to_wait(client)
            rule = RULES.find(scope["method"], path_of(scope))
            if not wait and rule is not None and rule.is_login:
                wait = self._logins.seconds_to_wait(client)
            if wait:
                after = math.ceil(wait)
                await _come_back(429, f"Too many requests; try again in {after} s.", after)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class BodyLimits:
    """Reads requests of a size, at a speed, and so many large ones at once.

    Args:
        app: the application.
        limits: which.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self._turns = asyncio.Semaphore(limits.uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, or answers it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        largest = RULES.largest_at(path_of(scope)) or self.limits.largest
        size = _stated_size(scope)
        if size is not None and size > largest:
            await _too_large(largest)(scope, receive, send)
            return
        # Without a stated size it may be as large as its endpoint takes: a login, however it is sent, needs no turn.
        async with self._turn(largest if size is None else size) as has_turn:
            if not has_turn:
                sentence = "Too many large files are on their way; try again in a moment."
                await _come_back(503, sentence, round(self.limits.seconds_for_turn))(scope, receive, send)
                return
            body = _Body(receive, send, self.limits, largest, seconds=self._seconds_for(scope))
            # Nobody is there any more, or the request was cut off by us.
            with suppress(ClientDisconnect):
                await self.app(scope, body.receive, body.send)
            if body.refusal is not None and not body.answered:
                await body.refusal(scope, receive, send)

    def _seconds_for(self, scope: Scope) -> float:
        """Returns how long a request may take to arrive: of who has not logged in, a form is there in a moment."""
        is_open = RULES.role_for(scope["method"], path_of(scope)) is None
        return self.limits.seconds_to_log_in if is_open else self.limits.seconds_to_send

    @asynccontextmanager
    async def _turn(self, size: int) -> AsyncIterator[bool]:
        if size <= _UPLOAD:
            yield True
            return
        try:
            await asyncio.wait_for(self._turns.acquire(), self.limits.seconds_for_turn)
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._turns.release()


class _Body:
    """One request on its way in; cut off when it is too large or too slow."""

    def __init__(self, receive: Receive, send: Send, limits: Limits, largest: int, *, seconds: float) -> None:
        self._receive, self._send, self._limits, self._largest = receive, send, limits, largest
        self._seconds = seconds
        self._begun, self._count, self._whole = time.monotonic(), 0, False
        self.refusal: Response | None = None
        self.answered = False

    async def receive(self) -> Message:
        """Returns the next part, or that the client is gone when it has to be."""
        if self._whole:
            return await self._receive()
        if self.refusal is None:
            allowed = self._seconds + self._count / self._limits.slowest
            try:
                async with asyncio.timeout(self._begun + allowed - time.monotonic()):
                    message = await self._receive()
            except TimeoutError:
                self.refusal = JSONResponse({"detail": "The request comes too slowly; send it again."}, 408)
            else:
                self._whole = not message.get("more_body", False)
                self._count += len(message.get("body", b""))
                if self._count <= self._largest:
                    return message
                self.refusal = _too_large(self._largest)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Passes an answer on, unless the request was cut off: what becomes of half of one is no answer."""
        if self.refusal is None or self.answered:
            self.answered = True
            await self._send(message)


def _stated_size(scope: Scope) -> int | None:
    """Returns how large a request says it is, None if it does not say; uvicorn refuses what is no number."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    if b"transfer-encoding" in headers:
        return None
    return int(headers.get(b"content-length", b"0"))


def _too_large(largest: int) -> Response:
    size = f"{largest // 2**20} MiB" if largest >= 2**20 else f"{largest // 2**10} KiB"
    return JSONResponse({"detail": f"The request is larger than {size}; send less at once."}, 413)


def _come_back(status: int, sentence: str, after: int) -> Response:
    return JSONResponse({"detail": sentence}, status, headers={"Retry-After": str(after)})
