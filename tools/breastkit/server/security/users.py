"""Who may use the server: a file with names, roles and hashed passwords, and the tokens that a login gives."""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import re
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from breastkit.atomic import write_json
from breastkit.errors import BreastkitError, UsageError

_TOKEN_SECONDS = 12 * 3600.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHORTEST = 8
_FAILURES, _FAILURES_WITHIN = 5, 60.0
# About 50 ms and 16 MiB for each try.
_COST = {"n": 2**14, "r": 8, "p": 1}


class Role(IntEnum):
    """What a user may do; a higher role may what the lower may."""

    VIEWER = 1
    ANNOTATOR = 2
    ADMIN = 3

    @classmethod
    def of(cls, name: str) -> Role:
        """Returns the role of a name.

        Raises:
            BreastkitError: if there is none.
        """
        if name.upper() not in cls.__members__:
            raise BreastkitError(f"'{name}' is no role; choose one of {', '.join(one.name.lower() for one in cls)}.")
        return cls[name.upper()]


@dataclass(frozen=True)
class User:
    """Somebody who logged in."""

    name: str
    role: Role


class TooManyFailuresError(Exception):
    """A name was tried with wrong passwords too often within a minute."""


class Users:
    """The users of a file.

    Args:
        path: as `set_user` writes it.

    Raises:
        BreastkitError: if the file is missing or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._known = _read(Path(path))
        self._tokens: dict[str, tuple[str, float]] = {}
        self._failed: dict[str, list[float]] = {}
        self._changing = threading.Lock()
        self._nobody = _hashed(secrets.token_hex(8))

    def log_in(self, name: str, password: str) -> str | None:
        """Returns a token, None if name or password are wrong.

        Raises:
            TooManyFailuresError: if there were too many wrong ones.
        """
        now = time.monotonic()
        with self._changing:
            recent = [when for when in self._failed.get(name, []) if now - when < _FAILURES_WITHIN]
            if len(recent) >= _FAILURES:
                raise TooManyFailuresError
            # Counted before the slow comparison, so that many at once count too; names nobody has are forgotten first.
            self._failed = {**dict(list(self._failed.items())[-1000:]), name: [*recent, now]}
        # A name nobody has takes as long as a wrong password.
        right = _matches(password, self._known.get(name, {}).get("password", self._nobody))
        if not right or name not in self._known:
            return None
        token = secrets.token_urlsafe(32)
        with self._changing:
            self._failed.pop(name, None)
            self._tokens = {key: one for key, one in self._tokens.items() if one[1] > now}
            self._tokens[_digest(token)] = (name, now + _TOKEN_SECONDS)
        return token

    def of_token(self, token: str) -> User | None:
        """Returns who holds a token, None if nobody does."""
        name, until = self._tokens.get(_digest(token), ("", 0.0))
        return None if until < time.monotonic() else self.named(name)

    def named(self, name: str) -> User | None:
        """Returns the user of a name, None if nobody has it."""
        return User(name, Role.of(self._known[name]["role"])) if name in self._known else None


def set_user(path: str, name: str, *, role: str = "annotator", password: str | None = None) -> Path:
    """Adds a user to a file, or changes role and password; without `--password` it is asked for or read from stdin.

    Args:
        path: the file of users; made when missing.
        name: of the user.
        role: viewer, annotator or admin.
        password: at least eight characters; better not on the command line, where others may see it.

    Returns:
        The file.

    Raises:
        BreastkitError: if name, role or password are not allowed.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("The name of a user is letters, digits and ._-; choose such.")
    chosen = Role.of(role)
    if password is None:
        password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(str(password)) < _SHORTEST:
        raise BreastkitError(f"A password has at least {_SHORTEST} characters; choose a longer one.")
    place = Path(path)
    users = _read(place) if place.exists() else {}
    users[name] = {"role": chosen.name.lower(), "password": _hashed(str(password))}
    write_json(place, {"users": users})
    place.chmod(0o600)
    return place


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        users: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))["users"]
        for name, one in users.items():
            Role.of(one["role"])
            if not _NAME.fullmatch(name) or one["password"].split("$")[0] != "scrypt":
                raise ValueError(name)
    except FileNotFoundError as error:
        raise BreastkitError(f"{path} does not exist; make it with 'breastkit users set'.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BreastkitError(f"{path} is no file of users; make it with 'breastkit users set'.") from error
    return users


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, **_COST).hex()}"


def _matches(password: str, stored: str) -> bool:
    _, salt, expected = stored.split("$")
    found = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_COST)
    return hmac.compare_digest(found, bytes.fromhex(expected))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
