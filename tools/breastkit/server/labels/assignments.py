"""Which image is whose for a time, so that two annotators are not handed the same one unless it is meant for both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from breastkit.records import read_record, write_record

ASSIGNMENTS_FILE = "assignments.json"


class Assignments:
    """Keeps for every image to whom it was handed and until when; those of nobody known count for nothing.

    Args:
        folder: of the labels.
        hours: after which an image is handed to others.
        knows: whether there is a user of a name.
    """

    def __init__(self, folder: Path, *, hours: float, knows: Callable[[str], bool]) -> None:
        self._path, self._hours, self._knows = folder / ASSIGNMENTS_FILE, hours, knows
        self._changing = threading.Lock()
        self._until: dict[str, dict[str, datetime]] = read_record(self._path, _assignments_in) or {}

    def of(self, image: str) -> dict[str, datetime]:
        """Returns whose an image is, with until when."""
        now = datetime.now(UTC)
        given = dict(self._until.get(image, {}))
        return {user: until for user, until in given.items() if until > now and self._knows(user)}

    def given_to(self, user: str) -> dict[str, datetime]:
        """Returns the images of a user, with until when."""
        given = {image: self.of(image) for image in list(self._until)}
        return {image: whose[user] for image, whose in given.items() if user in whose}

    def take(self, image: str, user: str, *, is_free: Callable[[set[str]], bool]) -> bool:
        """Hands an image to a user, or longer; tells whether it was free.

        Args:
            image: which.
            user: to whom.
            is_free: says by whose else it is whether one more may have it.

        Raises:
            BreastkitError: if that cannot be kept.
        """
        with self._changing:
            whose = self.of(image)
            if user not in whose and not is_free(set(whose)):
                return False
            self._until[image] = {**whose, user: datetime.now(UTC) + timedelta(hours=self._hours)}
            now = datetime.now(UTC)
            kept = {one: given for one, given in self._until.items() if any(until > now for until in given.values())}
            told = {one: {name: until.isoformat() for name, until in given.items()} for one, given in kept.items()}
            write_record(self._path, told)
            self._until = kept
        return True


def _assignments_in(content: Any) -> dict[str, dict[str, datetime]]:
    found = {
        str(image): {str(user): datetime.fromisoformat(until) for user, until in given.items()}
        for image, given in content.items()
    }
    if any(until.tzinfo is None for given in found.values() for until in given.values()):
        raise ValueError("a time without its zone")
    return found
