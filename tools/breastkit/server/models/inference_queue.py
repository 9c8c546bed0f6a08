"""One inference at a time, some waiting, the rest asked to come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
_SECONDS_EACH = 10


class BusyError(Exception):
    """Too many are waiting.

    Args:
        retry_after: seconds after which it is worth asking again.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many inferences are waiting; try again in a moment.")
        self.retry_after = retry_after


class InferenceQueue:
    """Runs functions one after the other, each in the thread that asks.

    Networks use all cores already: two at once would take twice as long each, and twice the memory.

    Args:
        waiting: how many may wait beside the one that runs.
    """

    def __init__(self, waiting: int = 8) -> None:
        self.waiting = waiting
        self._inside = 0
        self._counting, self._running = threading.Lock(), threading.Lock()

    def run(self, function: Callable[[], Result]) -> Result:
        """Returns what the function returns, as soon as it is its turn.

        Raises:
            BusyError: if too many wait.
        """
        with self._counting:
            if self._inside > self.waiting:
                raise BusyError(_SECONDS_EACH * self.waiting)
            self._inside += 1
        try:
            with self._running:
                return function()
        finally:
            with self._counting:
                self._inside -= 1
