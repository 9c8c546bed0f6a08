"""Who may ask what, decided before any endpoint sees the request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from breastkit.server.security.download_links import DownloadLinks
from breastkit.server.security.rules import RULES
from breastkit.server.security.users import Role, User, Users

USER = "breastkit.user"
ROLE = "breastkit.role"
NAMED_BY_PROXY = "breastkit.named_by_proxy"
ONLY_READS = "breastkit.only_reads"
COOKIE = "breastkit_token"

_ANOTHER_WRITES = "This server only reads, as another one writes to these labels; ask that one."


class AccessControl:
    """Lets requests pass to an application, or answers them itself.

    Without users, it serves this machine alone: the client and the server's address are loopback, and so is the name by
    which the server was called, so that no page of the internet reaches it through a name of its own. With users,
    everybody logs in. In both cases requests that change something come from our own pages or from programs.

    Args:
        app: the application.
        users: those who may log in; None to serve this machine alone.
        origins: further addresses of pages that may ask, as ``https://viewer.example``.
        only_reads: whether nobody's requests are kept, but for what is lent.
        links: open downloads to who has no token at hand.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        users: Users | None = None,
        origins: Iterable[str] = (),
        only_reads: bool = False,
        links: DownloadLinks | None = None,
    ) -> None:
        self.app, self.users, self.origins = app, users, frozenset(origins)
        self.only_reads, self.links = only_reads, links

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            # Nothing here speaks WebSocket; the lifespan is the application's business.
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        path, root = path_of(scope), root_of(scope)
        if self._from_a_strange_page(scope, headers):
            return _refused(403, "Requests of other sites are not answered; open the page of this server.")
        if self.users is None:
            if not _is_this_machine(scope, headers):
                return _refused(403, "Only this machine is served; start the server with --users for others.")
            scope[ROLE] = Role.ADMIN
            return self._refusal_to_write(scope, path)
        needed = RULES.role_for(scope["method"], path)
        if needed is None:
            return None
        user = self._user(scope, headers) or self._user_of_link(scope, path)
        if user is None and NAMED_BY_PROXY in scope:
            return _refused(403, "You are no user of this server; ask whoever runs it.")
        if user is None:
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                return RedirectResponse(f"{root}/login", 303)
            return _refused(401, "Log in first.", {"WWW-Authenticate": "Bearer"})
        scope[USER], scope[ROLE] = user.name, user.role
        if user.role < needed:
            return _refused(403, _needs(needed))
        return self._refusal_to_write(scope, path)

    def _refusal_to_write(self, scope: Scope, path: str) -> Response | None:
        """Returns the answer to what would be kept, where another server writes to the labels."""
        scope[ONLY_READS] = self.only_reads
        role = RULES.role_for(scope["method"], path)
        reads = scope["method"] in ("GET", "HEAD", "OPTIONS") or role in (None, Role.VIEWER)
        return _refused(403, _ANOTHER_WRITES) if self.only_reads and not reads else None

    def _user(self, scope: Scope, headers: dict[str, str]) -> User | None:
        if NAMED_BY_PROXY in scope and self.users:
            return self.users.named(scope[NAMED_BY_PROXY])
        token = token_of(headers)
        return self.users.of_token(token) if token and self.users else None

    def _user_of_link(self, scope: Scope, path: str) -> User | None:
        rule = RULES.find(scope["method"], path)
        if rule is None or not rule.by_link or self.links is None or self.users is None:
            return None
        image = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("image", "")
        name = self.links.user_of(image)
        return self.users.named(name) if name is not None else None

    def _from_a_strange_page(self, scope: Scope, headers: dict[str, str]) -> bool:
        origin = headers.get("origin")
        if not origin or origin in self.origins:
            return False
        return scope["method"] not in ("GET", "HEAD") and urlsplit(origin).netloc != headers.get("host")


def root_of(scope: Scope) -> str:
    """Returns the path under which the server is reached, as ``/breast``; empty for the top."""
    return str(scope.get("root_path", "")).rstrip("/")


def path_of(scope: Scope) -> str:
    """Returns the path of a request below the one under which the server is reached."""
    path, root = str(scope["path"]), root_of(scope)
    return path.removeprefix(root) if root and path.startswith(root + "/") else path


def user_of(request: Request) -> str:
    """Returns who asks; empty where nobody logs in."""
    return str(request.scope.get(USER, ""))


def asker_of(request: Request) -> User:
    """Returns who asks, with the role; nameless where nobody logs in."""
    return User(user_of(request), role_of(request))


def role_of(request: Request) -> Role:
    """Returns the role of who asks; where nobody logs in, this machine may do everything."""
    return Role(request.scope.get(ROLE, Role.VIEWER))


def refuse_to_write(request: Request) -> None:
    """Refuses to keep what a request asks to be kept, where its rule gives that to a higher role than asking.

    Raises:
        HTTPException: 403, if the role is too low or nothing is kept here.
    """
    if request.scope.get(ONLY_READS, True):
        raise HTTPException(403, _ANOTHER_WRITES)
    rule = RULES.find(request.method, path_of(request.scope))
    if rule is not None and rule.writes_from is not None:
        refuse_below(request, rule.writes_from)


def may_keep(request: Request) -> bool:
    """Tells whether what a request makes beside its answer is kept, as its rule has it."""
    try:
        refuse_to_write(request)
    except HTTPException:
        return False
    return True


def refuse_below(request: Request, role: Role) -> None:
    """Refuses what a parameter asks for and only a role from this one on may.

    Raises:
        HTTPException: 403, if the role is too low.
    """
    if role_of(request) < role:
        raise HTTPException(403, _needs(role))


def token_of(headers: Mapping[str, str]) -> str | None:
    """Returns the token of a request: of programs in a header, of browsers in a cookie."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def is_loopback(host: str) -> bool:
    """Tells whether an address or a name is that of this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_this_machine(scope: Scope, headers: dict[str, str]) -> bool:
    client, server = scope.get("client"), scope.get("server")
    called = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    return bool(client and server and is_loopback(client[0]) and is_loopback(server[0]) and is_loopback(called))


def _needs(role: Role) -> str:
    return f"This needs the role {role.name.lower()}; ask whoever runs the server."


def _refused(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": sentence}, status, headers=headers)
