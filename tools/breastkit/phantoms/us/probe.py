"""What the probe sees: a rectangle, a trapezoid or a sector, and the way between picture and beams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SHAPES = ("linear", "trapezoid", "sector")


@dataclass(frozen=True)
class Probe:
    """A picture of `rows` x `columns` pixels and the beams that made it.

    Attributes:
        shape: "linear" (beams straight down), "trapezoid" (steered outwards from a flat surface) or "sector" (from a
            curved one).
        rows: height of the picture in pixels.
        columns: width of the picture in pixels.
        spacing: size of a pixel in mm.
        radius: distance of the point all beams come from to the surface in mm; unused for "linear".
        half_angle: of the fan, in radians; unused for "linear".
        centre: column of the axis of the fan; pictures are often cut off-centre.
    """

    shape: str
    rows: int
    columns: int
    spacing: float
    radius: float = 0.0
    half_angle: float = 0.0
    centre: float = 0.0

    @cached_property
    def _polar(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The angle of every pixel, and its path below the surface in mm."""
        y, x = np.mgrid[: self.rows, : self.columns].astype(np.float32)
        across = (x - self.centre) * self.spacing
        down = y * self.spacing + self.radius
        angle = np.arctan2(across, down)
        return angle, np.hypot(across, down) - self._surface(angle)

    def _surface(self, angle: NDArray[Any]) -> NDArray[Any]:
        """Distance of the surface from the origin of the beams: the middle of it touches the top row."""
        return self.radius / np.cos(angle) if self.shape == "trapezoid" else np.full_like(angle, self.radius)

    @cached_property
    def depth(self) -> NDArray[Any]:
        """How far below the skin each pixel lies, in mm; negative above a curved surface."""
        if self.shape == "linear":
            return np.repeat(np.arange(self.rows, dtype=np.float32)[:, None] * self.spacing, self.columns, axis=1)
        return self._polar[1]

    @cached_property
    def inside(self) -> NDArray[Any]:
        """Which pixels a beam reaches."""
        if self.shape == "linear":
            return np.ones((self.rows, self.columns), dtype=bool)
        angle, depth = self._polar
        reached: NDArray[Any] = (np.abs(angle) <= self.half_angle) & (depth >= -1e-3)
        return reached

    @cached_property
    def beam_length(self) -> int:
        """Samples along a beam: beams at the sides are longer than the picture is high."""
        if self.shape == "linear":
            return self.rows
        return int(np.ceil(self.depth[self.inside].max() / self.spacing)) + 2

    def to_beams(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Samples a picture along the beams: a row is a depth, a column a beam."""
        if self.shape == "linear":
            return picture
        angles = np.linspace(-self.half_angle, self.half_angle, self.columns, dtype=np.float32)
        steps = np.arange(self.beam_length, dtype=np.float32)[:, None]
        radius = self._surface(angles)[None] + steps * self.spacing
        x = radius * np.sin(angles) / self.spacing + self.centre
        y = (radius * np.cos(angles) - self.radius) / self.spacing
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def to_picture(self, beams: NDArray[Any]) -> NDArray[Any]:
        """Lays beams out as a picture, black outside."""
        if self.shape == "linear":
            return beams
        angle, depth = self._polar
        x = (angle / self.half_angle + 1) / 2 * (self.columns - 1)
        picture = cv2.remap(beams, x, depth / self.spacing, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.where(self.inside, picture, 0)


def random_probe(rng: np.random.Generator, size: tuple[int, int] | None = None) -> Probe:
    """Draws a probe and a picture size.

    Args:
        rng: the random stream.
        size: rows and columns; random by default.
    """
    columns = int(rng.integers(380, 561))
    rows, columns = size or (int(columns * rng.uniform(0.62, 1.0)), columns)
    shape = str(rng.choice(SHAPES, p=(0.7, 0.17, 0.13)))
    width = rng.uniform(34, 52)
    spacing = width / columns
    if shape == "linear":
        return Probe(shape, rows, columns, spacing)
    centre = columns * rng.uniform(0.25, 0.75) if rng.random() < 0.4 else columns / 2
    reach = max(centre, columns - centre) * spacing
    if shape == "trapezoid":
        radius = rng.uniform(45, 110)
        # The fan leaves a corner free: at the surface it is as wide as the picture or a little less.
        half_angle = np.arctan2(reach * rng.uniform(0.72, 1.0), radius)
    else:
        radius = rng.uniform(25, 60)
        half_angle = np.arctan2(reach * rng.uniform(0.8, 1.0), radius + rows * spacing * rng.uniform(0.2, 0.6))
    return Probe(shape, rows, columns, spacing, float(radius), float(half_angle), float(centre))
