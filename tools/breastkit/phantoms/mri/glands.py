"""Fibroglandular tissue as varied as patients have it: next to none or dense, clumps, islands, fans of thin septa."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri.fields import Grid, noise, ramp

# How much of it there is, as a share of the breasts without septa.
_LEAST, _MOST = 0.01, 0.6
GLANDS = ("usual", "varied")


def check_glands(glands: str) -> str:
    """Returns how glands are drawn.

    Raises:
        BreastkitError: if they are drawn in no such way.
    """
    if glands not in GLANDS:
        raise BreastkitError(f"{glands} is no way to draw glands; give one of {', '.join(GLANDS)}.")
    return glands


def varied_amount(rng: np.random.Generator) -> float:
    """Draws the share of the breasts that is gland, little of it as often as much."""
    return float(np.exp(rng.uniform(np.log(_LEAST), np.log(_MOST))))


def scattered(rng: np.random.Generator, grid: Grid) -> NDArray[Any]:
    """Draws where glands lie apart from the clumps behind the nipple: islands, coarse or fine, and strands."""
    size = rng.uniform(5, 18)
    along = size * rng.uniform(1, 3)
    field = rng.uniform(0.0, 1.6) * noise(rng, grid, (size, along, size))
    fine = rng.uniform(2.5, 5)
    field += rng.uniform(0.0, 1.2) * noise(rng, grid, (fine, fine * rng.uniform(1, 3), fine))
    return field


def septa(rng: np.random.Generator, grid: Grid, depth: NDArray[Any], breast: NDArray[Any]) -> NDArray[Any]:
    """Draws thin sheets that run from the chest towards the nipple, as a fraction of each voxel; some breasts only."""
    fraction = np.zeros(grid.shape, dtype=np.float32)
    for _ in range(int(rng.integers(0, 3))):
        across = rng.uniform(14, 32)
        sheet = noise(rng, grid, (across, across * rng.uniform(1.5, 4), across))
        # The field runs through zero within its knots, so that this many of its units are about so many millimetres.
        half = rng.uniform(0.5, 1.1) / across * 1.6
        patchy = ramp(noise(rng, grid, rng.uniform(25, 60)), rng.uniform(-0.5, 0.8), 1.2)
        fraction = np.maximum(fraction, np.exp(-np.square(sheet / half)) * patchy * rng.uniform(0.6, 1.0))
    return np.where(breast & (depth > 3), fraction, 0).astype(np.float32)


def brightness(rng: np.random.Generator, grid: Grid) -> NDArray[Any]:
    """Draws how bright gland is beside the usual one: fibrous parts are dimmer than those full of water."""
    level = rng.uniform(0.65, 1.15) * np.exp(rng.uniform(0.0, 0.25) * noise(rng, grid, rng.uniform(6, 25)))
    clipped: NDArray[Any] = np.clip(level, 0.4, 1.6).astype(np.float32)
    return clipped
