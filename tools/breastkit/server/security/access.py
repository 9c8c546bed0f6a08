"""Who may ask what, decided before any endpoint sees the request."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from breastkit.server.security.users import Role, TooManyFailuresError, User, Users

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

USER = "breastkit.user"
NAMED_BY_PROXY = "breastkit.named_by_proxy"
COOKIE = "breastkit_token"
LOGIN_PATHS = ("/auth/token", "/login")
_OPEN_TO_ALL = re.compile(r"/auth/.*|/login|/favicon\.ico")
# Whatever is not listed, and changes something, is for administrators.
_RULES: tuple[tuple[tuple[str, ...], str, Role], ...] = (
    (("GET", "HEAD", "OPTIONS"), r"/.*", Role.VIEWER),
    (("POST",), r"/infer/[^/]+|/activelearning/[^/]+", Role.VIEWER),
    (("PUT", "DELETE"), r"/session/[^/]*", Role.VIEWER),
    (("PUT",), r"/datastore/(image|label)?", Role.ANNOTATOR),
    (("POST",), r"/(train|scoring)/[^/]*|/dicom-web/studies(/[0-9.]+)?", Role.ANNOTATOR),
    (("DELETE",), r"/(train|scoring)/", Role.ANNOTATOR),
)


def role_for(method: str, path: str) -> Role:
    """Returns the role that a request needs."""
    for methods, pattern, role in _RULES:
        if method in methods and re.fullmatch(pattern, path):
            return role
    return Role.ADMIN


class AccessControl:
    """Lets requests pass to an application, or answers them itself.

    Without users, it serves this machine alone: the client and the server's address are loopback, and so is the name by
    which the server was called, so that no page of the internet reaches it through a name of its own. With users,
    everybody logs in. In both cases requests that change something come from our own pages or from programs.

    Args:
        app: the application.
        users: those who may log in; None to serve this machine alone.
        origins: further addresses of pages that may ask, as ``https://viewer.example``.
    """

    def __init__(self, app: Any, *, users: Users | None = None, origins: Iterable[str] = ()) -> None:
        self.app, self.users, self.origins = app, users, frozenset(origins)

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
        path, root = path_of(scope), scope.get("root_path", "").rstrip("/")
        if self._from_a_strange_page(scope, headers):
            return _refused(403, "Requests of other sites are not answered; open the page of this server.")
        if self.users is None:
            if not _is_this_machine(scope, headers):
                return _refused(403, "Only this machine is served; start the server with --users for others.")
            return None
        if _OPEN_TO_ALL.fullmatch(path):
            return None
        user = self._user(scope, headers)
        if user is None and NAMED_BY_PROXY in scope:
            return _refused(403, "You are no user of this server; ask whoever runs it.")
        if user is None:
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                return RedirectResponse(f"{root}/login", 303)
            return _refused(401, "Log in first.", {"WWW-Authenticate": "Bearer"})
        scope[USER] = user.name
        needed = role_for(scope["method"], path)
        if user.role < needed:
            return _refused(403, f"This needs the role {needed.name.lower()}; ask whoever runs the server.")
        return None

    def _user(self, scope: Scope, headers: dict[str, str]) -> User | None:
        if NAMED_BY_PROXY in scope and self.users:
            return self.users.named(scope[NAMED_BY_PROXY])
        token = token_of(headers)
        return self.users.of_token(token) if token and self.users else None

    def _from_a_strange_page(self, scope: Scope, headers: dict[str, str]) -> bool:
        origin = headers.get("origin")
        if not origin or origin in self.origins:
            return False
        return scope["method"] not in ("GET", "HEAD") and urlsplit(origin).netloc != headers.get("host")


def path_of(scope: Scope) -> str:
    """Returns the path of a request below the one under which the server is reached."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if root and path.startswith(root + "/") else path


def token_of(headers: MutableMapping[str, str] | dict[str, str]) -> str | None:
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


def _refused(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": sentence}, status, headers=headers)


def logging_in(users: Users | None) -> APIRouter:
    """Returns the endpoints by which clients and people log in.

    Args:
        users: those who may; None where nobody has to.
    """
    router = APIRouter()

    def token_for(request: Request, name: str, password: str) -> str | None:
        if users is None:
            raise HTTPException(404, "Nobody has to log in here.")
        try:
            token = users.log_in(name, password)
        except TooManyFailuresError as error:
            raise HTTPException(
                429, "Too many wrong passwords; wait a minute.", headers={"Retry-After": "60"}
            ) from error
        if token is not None:
            # For the audit log; what somebody else typed may be a password in the wrong field.
            request.scope[USER] = name
        return token

    @router.get("/auth/")
    def enabled() -> dict[str, bool]:
        """Tells clients whether they have to log in."""
        return {"enabled": users is not None}

    @router.post("/auth/token")
    def token(
        request: Request,
        username: str = Form(max_length=64),
        password: str = Form(max_length=256),
        grant_type: str = Form("password"),
    ) -> dict[str, str]:
        """Gives a token for name and password."""
        found = token_for(request, username, password)
        if found is None:
            raise HTTPException(401, "Name or password is wrong.", headers={"WWW-Authenticate": "Bearer"})
        return {"access_token": found, "token_type": "bearer"}

    @router.get("/auth/token/valid")
    def valid(request: Request) -> dict[str, str]:
        """Tells whether a token is valid, and who asks."""
        named = request.scope.get(NAMED_BY_PROXY)
        user = None
        if users is not None:
            user = users.of_token(token_of(request.headers) or "") if named is None else users.named(named)
        if users is not None and user is None:
            raise HTTPException(401, "Log in first.", headers={"WWW-Authenticate": "Bearer"})
        return {"username": user.name if user else "", "role": user.role.name.lower() if user else ""}

    @router.get("/login", response_class=HTMLResponse)
    def page() -> str:
        """Shows a form to log in."""
        return _LOGIN.replace("PROBLEM", "")

    @router.post("/login")
    def enter(request: Request, username: str = Form(max_length=64), password: str = Form(max_length=256)) -> Response:
        """Logs a browser in."""
        found = token_for(request, username, password)
        if found is None:
            return HTMLResponse(_LOGIN.replace("PROBLEM", "<p role='alert'>Name or password is wrong.</p>"), 401)
        home = f"{request.scope.get('root_path', '').rstrip('/')}/"
        answer = RedirectResponse(home, 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, found, path=home, httponly=True, samesite="strict", secure=secure, max_age=12 * 3600)
        return answer

    return router


_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Log in</title>
<meta name="viewport" content="width=device-width"><style>body{font:16px system-ui,sans-serif;max-width:22rem;
margin:4rem auto;padding:0 1rem}label,input,button{display:block;width:100%;box-sizing:border-box;margin:.4rem 0;
font:inherit;padding:.4rem}label{padding:0}[role=alert]{color:#a00}</style>
<h1>Breast imaging annotation</h1>PROBLEM<form method="post"><label for="u">Name</label>
<input id="u" name="username" autocomplete="username" required><label for="p">Password</label>
<input id="p" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button></form><p>For research, not for diagnosis.</p></html>"""
