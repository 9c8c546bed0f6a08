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
from breastkit.logs import get_logger
from breastkit.server.security.throttle import Throttle

_log = get_logger(__name__)
_TOKEN_SECONDS = 12 * 3600.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHORTEST = 8
# About 50 ms and 16 MiB for each try.
_COST = {"n": 2**14, "r": 8, "p": 1}


class Role(IntEnum):
    """What a user may do; a higher role may what the lower may."""

    VIEWER = 1
    ANNOTATOR = 2
    REVIEWER = 3
    ADMIN = 4

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
    """Wrong passwords were tried too often.

    Attributes:
        seconds: to wait before the next try.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Users:
    """The users of a file, which is read anew as soon as it changes.

    A token ends with the password it was given for, and with its user. Where a changed file is damaged or gone, those
    known before stay, and the log says so.

    Args:
        path: as `set_user` writes it.

    Raises:
        BreastkitError: if the file is missing or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen = _state_of(self._path)
        self._read_users = _read(self._path)
        # Of each token's digest the user, until when, and the stored password it was given for.
        self._tokens: dict[str, tuple[str, float, str]] = {}
        self._throttle = Throttle()
        self._changing = threading.Lock()
        self._nobody = _hashed(secrets.token_hex(8))

    def log_in(self, name: str, password: str, *, client: str = "") -> str | None:
        """Returns a token, None if name or password are wrong.

        Args:
            name: of the user.
            password: as it was typed.
            client: the address it comes from.

        Raises:
            TooManyFailuresError: if there were too many wrong ones.
        """
        wait = self._throttle.seconds_to_wait(client, name)
        if wait:
            raise TooManyFailuresError(wait)
        # A name nobody has takes as long as a wrong password.
        known = self._known
        stored = known.get(name, {}).get("password", self._nobody)
        if not _matches(password, stored) or name not in known:
            return None
        self._throttle.succeeded(client, name)
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._changing:
            self._tokens = {key: one for key, one in self._tokens.items() if one[1] > now}
            self._tokens[_digest(token)] = (name, now + _TOKEN_SECONDS, stored)
        return token

    def log_out(self, token: str) -> None:
        """Ends a token, where there is such a one."""
        with self._changing:
            self._tokens.pop(_digest(token), None)

    def of_token(self, token: str) -> User | None:
        """Returns who holds a token, None if nobody does."""
        name, until, stored = self._tokens.get(_digest(token), ("", 0.0, ""))
        if until < time.monotonic() or self._known.get(name, {}).get("password") != stored:
            return None
        return self.named(name)

    def named(self, name: str) -> User | None:
        """Returns the user of a name, None if nobody has it."""
        known = self._known
        return User(name, Role.of(known[name]["role"])) if name in known else None

    @property
    def _known(self) -> dict[str, dict[str, str]]:
        state = _state_of(self._path)
        if state != self._seen:
            self._seen = state
            try:
                self._read_users = _read(self._path)
            except BreastkitError as error:
                _log.warning("%s Those known before stay.", error)
        return self._read_users


def set_user(path: str, name: str, *, role: str = "annotator", password: str | None = None) -> Path:
    """Adds a user to a file, or changes role and password; without `--password` it is asked for or read from stdin.

    Args:
        path: the file of users; made when missing.
        name: of the user.
        role: viewer, annotator, reviewer or admin.
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


def _state_of(path: Path) -> tuple[int, int, int] | None:
    """Returns what changes when a file is written; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


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
