"""Logging: one logger tree, on stderr, without patient identifiers.

A case is named in a log by `anonymous`, a short code that stays the same within and between runs; what a user must
see to find a file (the sentence of an error, a report in the output folder) is not a log.
"""

from __future__ import annotations

import hashlib
import logging
import sys

ROOT = "breastkit"


def get_logger(name: str) -> logging.Logger:
    """Returns the logger of a module, for example ``get_logger(__name__)``."""
    return logging.getLogger(name if name.startswith(ROOT) else f"{ROOT}.{name}")


def log_to_stderr(level: int = logging.INFO) -> None:
    """Sends this package's log to stderr, once however often it is called."""
    logger = logging.getLogger(ROOT)
    if not any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(level)


def anonymous(identifier: object) -> str:
    """Returns a code that stands for a patient or file in logs."""
    return f"case-{hashlib.sha256(str(identifier).encode()).hexdigest()[:8]}"
