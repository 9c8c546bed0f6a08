"""One inference at a time, some of everybody waiting, the rest asked to come back."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
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
    """Runs functions one after the other, each in the thread that asks, and everybody who waits in turn.

    Networks use all cores already: two at once would take twice as long each, and twice the memory. Whoever asks for
    many does not keep others waiting: each has a queue of their own, and the queues are served one after the other.

    Args:
        waiting: how many of one user may wait.
        of_all: how many of all users may wait.
    """

    def __init__(self, waiting: int = 8, *, of_all: int = 64) -> None:
        self.waiting, self.of_all = waiting, of_all
        # Of each user who waits what is asked, and first who was served least lately.
        self._queues: OrderedDict[str, deque[object]] = OrderedDict()
        self._is_running = False
        self._changed = threading.Condition()

    def run(self, function: Callable[[], Result], *, who: str = "") -> Result:
        """Returns what the function returns, as soon as it is its turn.

        Args:
            function: what to run.
            who: asks for it; empty for the server itself, and where nobody logs in.

        Raises:
            BusyError: if too many wait.
        """
        self._wait_for_turn(who)
        try:
            return function()
        finally:
            with self._changed:
                self._is_running = False
                self._changed.notify_all()

    def _wait_for_turn(self, who: str) -> None:
        ticket = object()
        with self._changed:
            own = self._queues.get(who, ())
            if self._is_running and (len(own) >= self.waiting or sum(map(len, self._queues.values())) >= self.of_all):
                raise BusyError(_SECONDS_EACH * max(1, len(own)))
            self._queues.setdefault(who, deque()).append(ticket)
            self._changed.wait_for(lambda: not self._is_running and self._next() is ticket)
            self._is_running = True
            self._queues[who].popleft()
            self._queues.move_to_end(who)
            if not self._queues[who]:
                del self._queues[who]

    def _next(self) -> object:
        return next(iter(self._queues.values()))[0]
