"""Ways to choose the next images to label, out of what is known of each: pure functions of arrays.

The annotation server chooses with them, and the benchmark that simulates annotation does too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.datasets.duplicates import RESEMBLANCE
from breastkit.seeding import generator

# Labelled images compared with all at a time: 256 x 100 000 float64 distances are 200 MB.
_ROWS = 256
# What the mix leaves for last. Half of the images taught less: what is typical is sure, and is needed too.
_SUREST = 0.25


class Choice(StrEnum):
    """How the next image is chosen.

    ``first`` and ``random`` need to know nothing. ``uncertainty`` takes the image of which the model is least sure,
    ``diversity`` the one that is least like all labelled ones, ``mix`` the same without the quarter of which the model
    is surest.
    """

    FIRST = "first"
    RANDOM = "random"
    UNCERTAINTY = "uncertainty"
    DIVERSITY = "diversity"
    MIX = "mix"


@dataclass(frozen=True)
class Pool:
    """What is known of the images, one entry for each, in the order of the list.

    Attributes:
        labelled: whether it has a label.
        uncertainty: how unsure the model is of it.
        features: what the model makes of it, ``(images, values)``.
        thumbnails: ``(images, values)``, by which near-duplicates are known.
    """

    labelled: NDArray[Any]
    uncertainty: NDArray[Any]
    features: NDArray[Any]
    thumbnails: NDArray[Any]


def choose(pool: Pool, how: Choice, count: int = 1, *, seed: int = 0) -> list[int]:
    """Returns the positions of the images to label next, the most useful first.

    Of equals the first in the list is chosen, so that the same pool and seed give the same choice.

    Args:
        pool: what is known of the images.
        how: the strategy.
        count: how many; fewer are returned where fewer have no label.
        seed: of the strategy ``random``.
    """
    waiting = np.flatnonzero(~pool.labelled)
    if how is Choice.FIRST:
        return [int(position) for position in waiting[:count]]
    if how is Choice.RANDOM:
        return [int(position) for position in generator(seed, "next image").permutation(waiting)[:count]]
    return _GreedyChoice(pool).take(how, count)


class _GreedyChoice:
    """Takes one image after the other; what is taken counts as labelled for the next."""

    def __init__(self, pool: Pool) -> None:
        self.features, self.thumbnails = standardised(pool.features), _directions(pool.thumbnails)
        self.squares = (self.features**2).sum(axis=1)
        self.uncertainty = np.asarray(pool.uncertainty, dtype=np.float64)
        self.waiting = ~pool.labelled
        self.distance = np.full(len(self.waiting), np.inf)
        self.resembles = np.zeros(len(self.waiting), dtype=bool)
        self._cover(np.flatnonzero(pool.labelled))

    def take(self, how: Choice, count: int) -> list[int]:
        """Returns the next positions."""
        taken: list[int] = []
        sure = self._surest() if how is Choice.MIX else np.zeros(len(self.waiting), dtype=bool)
        while len(taken) < count and self.waiting.any():
            merit = self.uncertainty if how is Choice.UNCERTAINTY else self._farness()
            # Near-duplicates of what is labelled come last, whatever their merit.
            order = np.lexsort((-merit, sure, self.resembles, ~self.waiting))
            taken.append(int(order[0]))
            self.waiting[order[0]] = False
            self._cover(order[:1])
        return taken

    def _surest(self) -> NDArray[Any]:
        """Returns which images are of the share that the model is surest of, near-duplicates left aside."""
        fresh = self.waiting & ~self.resembles
        if not fresh.any():
            return self.resembles
        surest: NDArray[np.bool_] = self.uncertainty < np.quantile(self.uncertainty[fresh], _SUREST)
        return surest

    def _farness(self) -> NDArray[Any]:
        if np.isinf(self.distance).any():
            # Nothing is labelled: begin with what is most like all others.
            nearness: NDArray[Any] = -np.linalg.norm(self.features - self.features.mean(axis=0), axis=1)
            return nearness
        return self.distance

    def _cover(self, positions: NDArray[Any]) -> None:
        for start in range(0, len(positions), _ROWS):
            some = positions[start : start + _ROWS]
            products = self.features @ self.features[some].T
            squared = self.squares[:, None] + self.squares[some] - 2 * products
            self.distance = np.minimum(self.distance, np.sqrt(np.maximum(squared, 0)).min(axis=1))
            self.resembles |= (self.thumbnails @ self.thumbnails[some].T >= RESEMBLANCE).any(axis=1)


def standardised(features: NDArray[Any]) -> NDArray[Any]:
    """Returns features with mean 0 and deviation 1 over the images, so that no channel outweighs the others."""
    features = np.asarray(features, dtype=np.float64)
    deviation = features.std(axis=0)
    scaled: NDArray[Any] = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


def _directions(thumbnails: NDArray[Any]) -> NDArray[Any]:
    """Returns rows whose products are the correlations of the thumbnails; a constant one correlates with none."""
    rows = np.asarray(thumbnails, dtype=np.float32).reshape(len(thumbnails), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 1e-3, rows / np.maximum(norms, 1e-3), 0)
