"""Random fields that the ultrasound phantom is drawn with: clouds, fibres, curves."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def clouds(rng: np.random.Generator, shape: tuple[int, ...], scale: tuple[float, float]) -> NDArray[Any]:
    """Returns a smooth field of mean 0 and standard deviation 1.

    Args:
        rng: the random stream.
        shape: rows and columns.
        scale: size of a typical blob in rows and columns, in pixels.
    """
    # A third of a blob is fine enough to compute on; the cubic enlargement of the smoothed grid shows no cells.
    cell = [max(size / 3, 1.0) for size in scale]
    rows, columns = (int(np.ceil(extent / each)) + 9 for extent, each in zip(shape, cell, strict=True))
    field: NDArray[Any] = rng.standard_normal((rows, columns), dtype=np.float32)
    sigma_y, sigma_x = (size / each / 2.5 for size, each in zip(scale, cell, strict=True))
    field = cv2.GaussianBlur(field, (0, 0), sigmaX=max(sigma_x, 0.3), sigmaY=max(sigma_y, 0.3))
    matrix = np.array([[1 / cell[1], 0, 4], [0, 1 / cell[0], 4]], dtype=np.float32)
    field = cv2.warpAffine(field, matrix, shape[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    scaled: NDArray[Any] = (field - field.mean()) / (field.std() + 1e-6)
    return scaled


def fibres(
    rng: np.random.Generator, shape: tuple[int, ...], scale: tuple[float, float], thickness: float
) -> NDArray[Any]:
    """Returns thin curved lines between 0 and 1, as connective tissue draws them.

    They are the zero lines of a smooth field: brightest where they lie across the beam, thicker and thinner, broken and
    fading on their way.

    Args:
        rng: the random stream.
        shape: rows and columns.
        scale: size of a mesh in rows and columns, in pixels.
        thickness: of a line, in pixels.
    """
    field = clouds(rng, shape, scale)
    slope_y, slope_x = np.gradient(field)
    slope = np.hypot(slope_y, slope_x) + 1e-3 / max(scale[0], 1)
    width = thickness * np.exp(0.5 * clouds(rng, shape, (scale[0] * 2, scale[1])))
    lines = np.exp(-((field / slope / width) ** 2))
    across = (np.abs(slope_y) / slope) ** 3
    strength = np.clip(0.5 + 0.35 * clouds(rng, shape, (scale[0] * 2, scale[1])), 0, 1)
    grain = np.clip(0.8 + 0.35 * clouds(rng, shape, (scale[0] / 2, scale[1] / 5)), 0, 1.2)
    drawn: NDArray[Any] = (lines * (0.12 + 0.88 * across) * strength * grain).astype(np.float32)
    return drawn


def curve(rng: np.random.Generator, length: int, scale: float) -> NDArray[Any]:
    """Returns a smooth line of mean 0 and standard deviation 1 with `length` points."""
    line: NDArray[Any] = clouds(rng, (1, length), (1, scale))[0]
    return line


def blend(below: NDArray[Any], above: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Returns `above` where the weight is 1 and `below` where it is 0."""
    mixed: NDArray[Any] = below + (above - below) * weight
    return mixed


def step(distance: NDArray[Any], width: float) -> NDArray[Any]:
    """Returns a soft step: 0 well below zero, 1 well above, over about `width`."""
    return np.clip(distance / max(width, 1e-3) + 0.5, 0, 1)
