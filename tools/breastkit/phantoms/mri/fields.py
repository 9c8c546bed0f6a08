"""Smooth random fields on a scan's grid, computed on few knots and interpolated, because most of a body is smooth.

Arrays here are ordered (z, y, x): z towards the head, y towards the back, x towards the patient's left, as axial slices
are looked at. Positions are in millimetres with x to the left, y to the front and z to the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels.

    Args:
        shape: slices, rows, columns.
        spacing: distance of slices, rows and columns in mm.
        first: position (z, y, x) of the first voxel in mm; rows go from front to back, so y falls along them.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    first: tuple[float, float, float]

    def axes(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Returns the positions along z, y and x, shaped to broadcast against a volume."""
        z, y, x = (
            (start + step * np.arange(count)).astype(np.float32)
            for start, step, count in zip(self.first, self.steps(), self.shape, strict=True)
        )
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def steps(self) -> tuple[float, float, float]:
        """Returns the signed distance between neighbours along each axis."""
        return self.spacing[0], -self.spacing[1], self.spacing[2]

    def coarse(self, spacing_mm: float) -> Grid:
        """Returns a grid of about that spacing over the same volume."""
        slices, rows, columns = (
            max(4, round(n * s / spacing_mm) + 1) for n, s in zip(self.shape, self.spacing, strict=True)
        )
        shape = (slices, rows, columns)
        z, y, x = ((n - 1) * s / (m - 1) for n, s, m in zip(self.shape, self.spacing, shape, strict=True))
        return Grid(shape, (z, y, x), self.first)

    def index(self, position: Sequence[float]) -> tuple[float, float, float]:
        """Returns the fractional voxel index (z, y, x) of a position."""
        z, y, x = ((p - f) / s for p, f, s in zip(position, self.first, self.steps(), strict=True))
        return z, y, x

    def voxel_mm3(self) -> float:
        """Returns the volume of a voxel."""
        return float(np.prod(self.spacing))


def interpolate(field: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Interpolates a field to a larger grid over the same volume, cubic along each axis, as three matrix products.

    An axis of length one stays as it is, so that a field of two coordinates needs no third.
    """
    field = np.asarray(field, dtype=np.float32)
    if field.shape[0] > 1:
        field = np.tensordot(_cubic_weights(field.shape[0], shape[0]), field, axes=1)
    if field.shape[1] > 1:
        field = np.matmul(_cubic_weights(field.shape[1], shape[1]), field)
    if field.shape[2] > 1:
        field = np.matmul(field, _cubic_weights(field.shape[2], shape[2]).T)
    return field


def _cubic_weights(count: int, wanted: int) -> NDArray[Any]:
    """Returns the (wanted, count) matrix of Catmull-Rom weights."""
    position = np.linspace(0, count - 1, wanted)
    base = np.floor(position).astype(int)
    rest = position - base
    weights = np.zeros((wanted, count), dtype=np.float32)
    kernel = (
        -0.5 * rest + rest**2 - 0.5 * rest**3,
        1 - 2.5 * rest**2 + 1.5 * rest**3,
        0.5 * rest + 2 * rest**2 - 1.5 * rest**3,
        -0.5 * rest**2 + 0.5 * rest**3,
    )
    for offset, weight in zip(range(-1, 3), kernel, strict=True):
        np.add.at(weights, (np.arange(wanted), np.clip(base + offset, 0, count - 1)), weight.astype(np.float32))
    return weights


def noise(rng: np.random.Generator, grid: Grid, knots_mm: float | tuple[float, float, float]) -> NDArray[Any]:
    """Returns smooth noise of about unit spread on a grid, with independent values every `knots_mm` along (z, y, x)."""
    knots = knots_mm if isinstance(knots_mm, tuple) else (knots_mm,) * 3
    # The knots are drawn for a fixed count per axis, at most one a voxel.
    counts = [
        int(np.clip(round(n * s / knot) + 1, 2, max(n, 2)))
        for n, s, knot in zip(grid.shape, grid.spacing, knots, strict=True)
    ]
    return interpolate(1.3 * rng.standard_normal(counts, dtype=np.float32), grid.shape)


def ramp(value: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Rises smoothly from 0 at `low` to 1 at `high` (falls where `high` is the smaller one)."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blend_max(first: NDArray[Any], second: NDArray[Any], width: float) -> NDArray[Any]:
    """Returns the maximum with a rounded transition, which joins two bodies without an edge."""
    near = np.maximum(width - np.abs(first - second), 0) / width
    joined: NDArray[Any] = np.maximum(first, second) + near * near * (width / 4)
    return joined


def distance_to_one(level: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Turns a level function into millimetres to its surface at 1, positive where the level is below 1."""
    slopes = np.gradient(level, *grid.spacing)
    steepness = np.sqrt(sum(np.square(slope) for slope in slopes))
    distance: NDArray[Any] = np.clip((1 - level) / np.maximum(steepness, 1e-4), -80, 80).astype(np.float32)
    return distance
