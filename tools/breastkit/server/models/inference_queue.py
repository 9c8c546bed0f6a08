"""One inference at a time, or one of several small pictures; some of everybody waiting, the rest asked to come back."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_SECONDS_EACH = 10
# More gain nothing on two cores, and would keep others waiting for longer.
_TOGETHER = 8


class BusyError(Exception):
    """Too many are waiting.

    Args:
        retry_after: seconds after which it is worth asking again.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many inferences are waiting; try again in a moment.")
        self.retry_after = retry_after


@dataclass(eq=False)
class _Ticket:
    """Somebody who waits.

    Attributes:
        together: what runs for several at once; None of what runs alone.
        item: what it runs on.
        answer: what came out, or what was raised, once it ran with that of another.
        is_answered: whether it did.
    """

    together: Callable[[Sequence[Any]], Sequence[Any]] | None = None
    item: Any = None
    answer: Any = None
    is_answered: bool = False


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
        self._queues: OrderedDict[str, deque[_Ticket]] = OrderedDict()
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
        self._wait_for_turn(who, _Ticket())
        try:
            return function()
        finally:
            self._end_turn()

    def run_together(
        self, function: Callable[[Sequence[Item]], Sequence[Result]], item: Item, *, who: str = ""
    ) -> Result:
        """Returns what a function makes of an item, in one call with the items that wait for the same function.

        An item that fails does so alone.

        Args:
            function: takes items, and gives as many results.
            item: one of them.
            who: as of `run`.

        Raises:
            BusyError: if too many wait.
        """
        ticket = _Ticket(function, item)
        self._wait_for_turn(who, ticket)
        if not ticket.is_answered:
            tickets = [ticket, *self._others(function)]
            try:
                _answer(tickets, function)
            finally:
                self._end_turn()
        if isinstance(ticket.answer, BaseException):
            raise ticket.answer
        result: Result = ticket.answer
        return result

    def _wait_for_turn(self, who: str, ticket: _Ticket) -> None:
        """Returns when it is a ticket's turn, or when it was answered with another's."""
        with self._changed:
            own = self._queues.get(who, ())
            if self._is_running and (len(own) >= self.waiting or sum(map(len, self._queues.values())) >= self.of_all):
                raise BusyError(_SECONDS_EACH * max(1, len(own)))
            self._queues.setdefault(who, deque()).append(ticket)
            self._changed.wait_for(lambda: ticket.is_answered or (not self._is_running and self._next() is ticket))
            if not ticket.is_answered:
                self._is_running = True
                self._take(who)

    def _others(self, function: Callable[..., Any]) -> list[_Ticket]:
        """Takes out of the queues those who wait for the same function next, one of each user in turn."""
        taken: list[_Ticket] = []
        with self._changed:
            while len(taken) < _TOGETHER - 1:
                same = next((who for who, own in self._queues.items() if own[0].together == function), None)
                if same is None:
                    break
                taken.append(self._take(same))
        return taken

    def _take(self, who: str) -> _Ticket:
        ticket = self._queues[who].popleft()
        self._queues.move_to_end(who)
        if not self._queues[who]:
            del self._queues[who]
        return ticket

    def _end_turn(self) -> None:
        with self._changed:
            self._is_running = False
            self._changed.notify_all()

    def _next(self) -> _Ticket | None:
        return next(iter(self._queues.values()))[0] if self._queues else None


def _answer(tickets: Sequence[_Ticket], function: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
    """Gives tickets their results; where all together fail, each its own."""
    try:
        for ticket, answer in zip(tickets, function([one.item for one in tickets]), strict=True):
            ticket.answer = answer
    except Exception as error:
        if len(tickets) > 1:
            for ticket in tickets:
                _answer([ticket], function)
        else:
            tickets[0].answer = error
    for ticket in tickets:
        ticket.is_answered = True
