"""Users whom a reverse proxy names in a header, after they logged in there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, cast

import uvicorn.config
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from breastkit.errors import BreastkitError
from breastkit.server.security.access import NAMED_BY_PROXY

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True)
class TrustedProxy:
    """A reverse proxy that says who asks.

    Attributes:
        header: in which it names the user, in lower case.
        networks: from where it connects.
    """

    header: str
    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, header: str, addresses: str) -> TrustedProxy:
        """Returns the proxy of a header's name and of addresses or networks with commas between.

        Raises:
            BreastkitError: if one of them is none.
        """
        if not _HEADER.fullmatch(header):
            raise BreastkitError(f"'{header[:40]}' is no name of a header; give one such as X-Forwarded-User.")
        try:
            networks = tuple(ip_network(one.strip()) for one in addresses.split(","))
        except ValueError as error:
            raise BreastkitError(
                f"'{addresses[:80]}' is no address of a proxy; give --trusted-proxy one such as 127.0.0.1."
            ) from error
        return cls(header.lower(), networks)

    def is_at(self, host: str) -> bool:
        """Tells whether a connection comes from the proxy."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


class BehindProxy:
    """Reads what the proxy says of who asks; from elsewhere the same headers say nothing.

    Args:
        app: the application.
        proxy: whom to believe.
    """

    def __init__(self, app: ASGIApp, *, proxy: TrustedProxy) -> None:
        self.proxy, self.app = proxy, app
        # Takes the client's address and the scheme from the headers that all proxies send.
        hosts = [str(one) for one in proxy.networks]
        # uvicorn has types of its own for what starlette calls an ASGI application.
        self._forwarded = cast(ASGIApp, ProxyHeadersMiddleware(cast(Any, app), trusted_hosts=hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on."""
        if scope["type"] != "http" or not self.proxy.is_at((scope.get("client") or ("",))[0]):
            await self.app(scope, receive, send)
            return
        named = [value for name, value in scope["headers"] if name.lower() == self.proxy.header.encode()]
        if named:
            # A second one is not the proxy's.
            scope[NAMED_BY_PROXY] = named[0].decode("latin-1").strip() if len(named) == 1 else ""
        await self._forwarded(scope, receive, send)


def proxy_of(conf: Mapping[str, str]) -> TrustedProxy | None:
    """Returns the proxy that the app's options name, None without one.

    Raises:
        BreastkitError: if they name half of one.
    """
    header, addresses = conf.get("user_header"), conf.get("trusted_proxy")
    if not header and not addresses:
        return None
    if not header or not addresses or not conf.get("users"):
        raise BreastkitError("A proxy that names users needs users, user_header and trusted_proxy; give all three.")
    return TrustedProxy.of(header, addresses)


def believe_connections_alone() -> None:
    """Has uvicorn, however it was started, take the address of a client from its connection.

    It would believe every program of this machine that says it asks for somebody else, and MONAI Label's command has no
    option against that. Whom to believe is decided by `BehindProxy`.
    """

    def unchanged(app: ASGIApp, trusted_hosts: object) -> ASGIApp:
        return app

    uvicorn.config.ProxyHeadersMiddleware = unchanged  # type: ignore[attr-defined, assignment]  # a class there
