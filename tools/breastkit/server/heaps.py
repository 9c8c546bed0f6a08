"""What the process of a server keeps of memory that its requests have given back."""

from __future__ import annotations

import ctypes

# As many as keep threads from waiting for each other on a few cores.
_HEAPS = 2
# Of mallopt(3).
_M_ARENA_MAX = -8


def share_heaps() -> None:
    """Has all threads share a few heaps, where glibc would give each its own.

    What one thread returns to its heap another cannot use: of a server with many threads the memory goes on growing
    although nothing is held. Other C libraries have no such heaps.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _HEAPS)
