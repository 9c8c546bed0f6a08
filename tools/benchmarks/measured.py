"""What a benchmark found: figures to keep, and the lines that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What a benchmark found.

    Attributes:
        figures: what was measured, as JSON can hold it.
        lines: the same for people; the first says what was measured.
    """

    figures: Mapping[str, Any]
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n  ".join(self.lines)
