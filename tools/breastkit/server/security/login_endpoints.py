"""Logging in: a token for programs, a cookie for browsers."""

from __future__ import annotations

import math

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from breastkit.server.security.access import COOKIE, NAMED_BY_PROXY, USER, root_of, token_of
from breastkit.server.security.request_limits import client_of
from breastkit.server.security.users import TooManyFailuresError
from breastkit.server.services import Services


def login_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints by which clients and people log in.

    Args:
        services: with the users who may; None where nobody has to.
    """
    router = APIRouter()
    users = services.users

    def token_for(request: Request, name: str, password: str) -> str | None:
        if users is None:
            raise HTTPException(404, "Nobody has to log in here.")
        try:
            token = users.log_in(name, password, client=client_of(request.scope))
        except TooManyFailuresError as error:
            wait = math.ceil(error.seconds)
            sentence = f"Too many wrong passwords; try again in {wait} s."
            raise HTTPException(429, sentence, headers={"Retry-After": str(wait)}) from error
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

    @router.post("/auth/logout")
    def log_out(request: Request) -> Response:
        """Ends the token that is sent, of programs and of browsers."""
        found = token_of(request.headers)
        if users is not None and found is not None:
            users.log_out(found)
        home = f"{root_of(request.scope)}/"
        is_page = "text/html" in request.headers.get("accept", "")
        answer: Response = RedirectResponse(f"{home}login", 303) if is_page else Response(status_code=204)
        answer.delete_cookie(COOKIE, path=home, httponly=True, samesite="strict")
        return answer

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
        home = f"{root_of(request.scope)}/"
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
