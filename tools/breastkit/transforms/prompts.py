"""What an annotator points at, as planes behind a picture: what to add, what to remove, and the mask so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# More of what is outlined, less of it, and the mask so far.
PROMPT_PLANES = ("add", "remove", "previous")
# Of the mark of a click, in pixels of the network's grid; further than this many times it, there is nothing of it.
_SIGMA = 3.0
_REACH = 4


class Click(NamedTuple):
    """A point on a picture, counted from 0.

    Attributes:
        row: from the top.
        column: from the left.
        inside: whether it is to belong to the mask.
    """

    row: float
    column: float
    inside: bool = True


def prompt_planes(clicks: Sequence[Click], previous: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the planes of `PROMPT_PLANES`, ``(3, rows, columns)``, all between 0 and 1.

    Args:
        clicks: on the grid of the planes; each is a Gaussian.
        previous: the mask so far, or its probabilities; zero where there is none.
    """
    planes = np.zeros((len(PROMPT_PLANES), *previous.shape), np.float32)
    planes[2] = previous
    for click in clicks:
        (top, bottom), (left, right) = (
            (max(0, int(at - _REACH * _SIGMA)), min(length, int(at + _REACH * _SIGMA) + 2))
            for at, length in zip(click[:2], previous.shape, strict=True)
        )
        down, across = np.arange(top, bottom) - click.row, np.arange(left, right) - click.column
        mark = np.exp(-(down[:, None] ** 2 + across**2) / (2 * _SIGMA**2))
        plane = planes[0 if click.inside else 1, top:bottom, left:right]
        np.maximum(plane, mark, out=plane)
    return planes
