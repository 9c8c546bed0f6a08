"""What the server logged last: kept in memory, names of files without their folders."""

from __future__ import annotations

import logging
from collections import deque

from breastkit.logs import ROOT
from breastkit.server.security.shown_sentences import without_folders

KEPT_LINES = 2000
_LOGGERS = (ROOT, "uvicorn.error")


class RecentLog(logging.Handler):
    """Keeps the last lines that this package and uvicorn log, until it is detached."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what was logged."""
        self.lines.extend(without_folders(self.format(record)).splitlines())

    def detach(self) -> None:
        """Keeps nothing any more; `close` is called by whoever configures logging anew, as uvicorn does."""
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self)
