"""Wrong passwords make the next try wait, longer each time; nobody's right password is locked out by others."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

_FORGOTTEN_S = 900.0
_MOST = 10_000


@dataclass(frozen=True)
class Growth:
    """How the wait grows.

    Attributes:
        free: wrong tries that cost nothing.
        longest_s: that anybody waits.
    """

    free: int
    longest_s: float


# From one address with one name: what somebody does who guesses, or mistypes. Of a name from everywhere: guesses from
# many addresses are slowed, and who knows the password waits for seconds at the most.
OF_CLIENT, OF_NAME = Growth(3, 60.0), Growth(20, 5.0)


class Throttle:
    """Counts wrong tries, by address and name together and by name alone."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], tuple[int, float]] = {}
        self._changing = threading.Lock()

    def seconds_to_wait(self, client: str, name: str) -> float:
        """Counts a try as a wrong one and returns 0, or counts nothing and returns how long to wait first.

        It is counted before the password is looked at, so that many at once count too; `succeeded` takes it back.
        """
        now = time.monotonic()
        with self._changing:
            keys = {(client, name): OF_CLIENT, ("", name): OF_NAME}
            wait = max(self._wait(key, growth, now) for key, growth in keys.items())
            if wait > 0:
                return wait
            for key in keys:
                count, _ = self._recent(key, now)
                self._failed.pop(key, None)
                # At the end of the table: what was not tried for longest is forgotten first.
                self._failed[key] = (count + 1, now)
            while len(self._failed) > _MOST:
                del self._failed[next(iter(self._failed))]
        return 0.0

    def succeeded(self, client: str, name: str) -> None:
        """Forgets what was wrong from an address, and the last try of the name."""
        with self._changing:
            self._failed.pop((client, name), None)
            count, when = self._failed.get(("", name), (0, 0.0))
            if count > 1:
                self._failed[("", name)] = (count - 1, when)
            else:
                self._failed.pop(("", name), None)

    def _recent(self, key: tuple[str, str], now: float) -> tuple[int, float]:
        count, when = self._failed.get(key, (0, now))
        return (count, when) if now - when < _FORGOTTEN_S else (0, now)

    def _wait(self, key: tuple[str, str], growth: Growth, now: float) -> float:
        count, when = self._recent(key, now)
        if count < growth.free:
            return 0.0
        delay = min(growth.longest_s, 2.0 ** min(count - growth.free, 30))
        return max(0.0, math.ceil(when + delay - now)) if when + delay > now else 0.0
