"""Ray, an extra of this package: a connection to a cluster for as long as a work takes."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from breastkit.errors import BreastkitError

_PATIENCE_S = 10


@contextmanager
def connected_ray(address: str | None) -> Generator[Any]:
    """Yields Ray, connected to a cluster, and leaves it at the end."""
    # Where it runs is told nobody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Paths are as the command was given them.
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise BreastkitError("Ray is not installed; add it with: pip install 'breastkit[ray]'.") from error
    importlib.import_module("ray.util")
    own = {} if address or os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
    where = address or os.environ.get("RAY_ADDRESS") or "on this machine"
    try:
        _knock(where)
        ray.init(address=address, logging_level="error", log_to_driver=False, **own)
    except (OSError, ValueError, RuntimeError) as error:
        raise BreastkitError(f"The Ray cluster {where} cannot be reached; start it, or correct --address.") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Makes sure that somebody answers there at all: Ray itself would try for minutes.

    Raises:
        OSError: if nobody does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
