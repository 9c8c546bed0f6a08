"""What is said to a server that may be away for a while."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.model_registry import check_store

# While it is away it is asked so often, and at the end waited for so long.
_ASKED_EVERY = 5.0
_PATIENCE = 1800.0
_log = get_logger(__name__)


class Outbox:
    """Calls to MLflow in their order. Where it is away they are kept until it is back, and the training goes on.

    Args:
        uri: of the store; a file always answers.
        patience: for how many seconds `deliver` waits for a server.
    """

    def __init__(self, uri: str, *, patience: float = _PATIENCE) -> None:
        self.uri, self.patience = uri, patience
        self._calls: deque[Callable[[], object]] = deque()
        self._away_since: float | None = None
        self._ask_again = 0.0

    def say(self, call: Callable[[], object]) -> None:
        """Makes a call, or keeps it where the server is away. It may be made twice, where an answer was lost."""
        self._calls.append(call)
        if time.monotonic() >= self._ask_again:
            self._try()

    def deliver(self) -> None:
        """Makes all calls that were kept, and waits for the server if need be.

        Raises:
            BreastkitError: if it does not come back.
        """
        end = time.monotonic() + self.patience
        while not self._try():
            if time.monotonic() > end:
                raise BreastkitError(
                    f"The MLflow server has not come back, and {len(self._calls)} entries of the run are lost to it; "
                    "what the run made is in its folder: start the server, and give the same command again."
                )
            time.sleep(min(_ASKED_EVERY, self.patience))

    def answers(self) -> bool:
        """Asks the server whether it is there, and tells the user when that changes."""
        try:
            check_store(self.uri)
        except BreastkitError as error:
            if self._away_since is None:
                self._away_since = time.monotonic()
                _log.warning("The run goes on and is recorded later: %s", error)
            self._ask_again = time.monotonic() + _ASKED_EVERY
            return False
        if self._away_since is not None:
            away = time.monotonic() - self._away_since
            _log.warning("The MLflow server is back after %.0f s; %d entries are sent.", away, len(self._calls))
            self._away_since = None
        return True

    def _try(self) -> bool:
        """Makes the calls that are kept, and returns whether all were made."""
        from mlflow.exceptions import MlflowException

        if not self.answers():
            return False
        while self._calls:
            try:
                self._calls[0]()
            except MlflowException:
                # Either it has just gone, or it does not want what it was told.
                if self.answers():
                    raise
                return False
            self._calls.popleft()
        return True
