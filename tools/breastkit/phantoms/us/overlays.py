"""What a machine burns into a picture: callipers, names of the side, a scale, the mark of the probe."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX)
_SIDES = ("RT", "LT", "RIGHT", "LEFT", "RTLO", "LT UIQ", "RT BREAST", "LT 2H", "RT 10:00", "L BREAST", "AXILLA")


def add_overlays(rng: np.random.Generator, picture: NDArray[Any], mask: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Draws over a picture what machines draw.

    Args:
        rng: the random stream.
        picture: 8-bit gray.
        mask: the lesions; callipers measure the largest. Some pictures without one carry callipers too.

    Returns:
        The picture drawn over, and the names of what was drawn.
    """
    picture = picture.copy()
    drawn = []
    for name, probability, draw in (
        ("callipers", 0.35 if mask.any() else 0.06, _callipers),
        ("text", 0.15, _text),
        ("scale", 0.12, _scale),
        ("probe mark", 0.55, _probe_mark),
    ):
        if rng.random() < probability:
            draw(rng, picture, mask)
            drawn.append(name)
    return picture, drawn


def _ink(rng: np.random.Generator) -> tuple[int]:
    return (int(rng.integers(190, 256)),)


def _axes(rng: np.random.Generator, mask: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """End points of the long axis of the largest lesion and of the one across it."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if contours:
        points = max(contours, key=cv2.contourArea)[:, 0].astype(np.float32)
    else:
        height, width = mask.shape
        angle = np.linspace(0, 2 * np.pi, 60)
        half = rng.uniform(0.03, 0.12, 2) * (width, height)
        centre = rng.uniform(0.25, 0.75, 2) * (width, height)
        points = (centre + half * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(np.float32)
    middle = points.mean(0)
    # OpenCV computes the mean where none is given, which its types leave out.
    _, directions = cv2.PCACompute(points, mean=None)  # type: ignore[call-overload]
    axes = []
    for direction in directions:
        along = (points - middle) @ direction
        turned = direction * rng.normal(1, 0.02)
        axes.append((middle + turned * along.min(), middle + turned * along.max()))
    return axes


def _callipers(rng: np.random.Generator, picture: NDArray[Any], mask: NDArray[Any]) -> None:
    ink, size = _ink(rng), int(rng.integers(3, 7))
    marker = cv2.MARKER_CROSS if rng.random() < 0.75 else cv2.MARKER_TILTED_CROSS
    thickness = int(rng.integers(1, 3))
    dotted = rng.random() < 0.6
    axes = _axes(rng, mask)[: int(rng.integers(1, 3))]
    for number, (start, end) in enumerate(axes, 1):
        ends = [tuple(int(value) for value in np.round(point)) for point in (start, end)]
        for point in ends:
            cv2.drawMarker(picture, point, ink, marker, 2 * size + 1, thickness)
        if dotted:
            _dots(picture, start, end, ink, gap=float(rng.uniform(3, 7)))
        if rng.random() < 0.7:
            place = (ends[0][0] - 3 * size, ends[0][1] + size)
            cv2.putText(picture, str(number), place, _FONTS[0], 0.35 + size / 25, ink, thickness, cv2.LINE_AA)


def _dots(picture: NDArray[Any], start: NDArray[Any], end: NDArray[Any], ink: tuple[int], *, gap: float) -> None:
    count = max(int(np.hypot(*(end - start)) / gap), 2)
    for point in np.linspace(start, end, count)[1:-1]:
        x, y = (int(value) for value in np.round(point))
        if 0 <= y < picture.shape[0] and 0 <= x < picture.shape[1]:
            picture[y, x] = ink[0]


def _text(rng: np.random.Generator, picture: NDArray[Any], mask: NDArray[Any]) -> None:
    height, width = picture.shape
    for _ in range(int(rng.integers(1, 3))):
        place = (
            int(rng.uniform(0.02, 0.7) * width),
            int(rng.choice([rng.uniform(0.05, 0.2), rng.uniform(0.75, 0.97)]) * height),
        )
        font = _FONTS[rng.integers(len(_FONTS))]
        cv2.putText(picture, str(rng.choice(_SIDES)), place, font, rng.uniform(0.4, 0.8), _ink(rng), 1, cv2.LINE_AA)


def _scale(rng: np.random.Generator, picture: NDArray[Any], mask: NDArray[Any]) -> None:
    """Centimetre ticks along one side."""
    height, width = picture.shape
    x = 3 if rng.random() < 0.5 else width - 4
    ink = _ink(rng)
    for number, y in enumerate(np.arange(0, height, rng.uniform(0.08, 0.14) * height)):
        length = 6 if number % 5 == 0 else 3
        cv2.line(picture, (x - length // 2, int(y)), (x + length // 2, int(y)), ink, 1)


def _probe_mark(rng: np.random.Generator, picture: NDArray[Any], mask: NDArray[Any]) -> None:
    """The small sign in the upper corner that tells which side of the probe is which."""
    size = int(rng.integers(3, 7))
    x, y = int(rng.integers(size, 3 * size)), int(rng.integers(size, 3 * size))
    ink = _ink(rng)
    cv2.circle(picture, (x, y), size, ink, 1, cv2.LINE_AA)
    cv2.line(picture, (x, y), (x + size, y + size), ink, 1, cv2.LINE_AA)
    if rng.random() < 0.15:
        # The pictogram of a breast with the position of the probe on it.
        height, width = picture.shape
        centre = (int(width * 0.93), int(height * 0.93))
        radius = int(0.055 * width)
        cv2.circle(picture, centre, radius, ink, 1, cv2.LINE_AA)
        turn = rng.uniform(0, 2 * np.pi)
        ends = [
            (int(centre[0] + s * radius * np.cos(turn)), int(centre[1] + s * radius * np.sin(turn))) for s in (0.3, 0.9)
        ]
        cv2.line(picture, ends[0], ends[1], ink, 2, cv2.LINE_AA)
