"""Pictures people look at: windowed gray images, outlines, overlays, labelled grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Told apart by people with the common colour-vision deficiencies, and visible on gray.
PREDICTION = (255, 176, 0)
TRUTH = (0, 200, 255)
LESION = (255, 80, 120)
# Of grids, in pixels: between tiles, and for titles above the columns.
_GAP, _HEADER = 4, 22


def to_gray8(image: NDArray[Any], *, percentiles: tuple[float, float] = (0.5, 99.5)) -> NDArray[np.uint8]:
    """Windows an image by percentiles to 8-bit gray; a flat image becomes black."""
    image = np.asarray(image, dtype=np.float32)
    low, high = np.percentile(image, percentiles)
    gray: NDArray[np.uint8] = (np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return gray


def to_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns a picture as (rows, columns, 3) uint8, windowing it when it is not 8-bit."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        image = to_gray8(image)
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image[..., :3].copy()


def outline(
    image: NDArray[Any], mask: NDArray[Any], colour: tuple[int, int, int] = PREDICTION, *, width: int = 1
) -> NDArray[np.uint8]:
    """Draws the border of a mask on a picture and returns the result as RGB."""
    picture = np.ascontiguousarray(to_rgb(image))
    borders, _ = cv2.findContours((np.asarray(mask) > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, borders, -1, colour, width, cv2.LINE_8)
    return picture


def overlay(
    image: NDArray[Any], mask: NDArray[Any], colour: tuple[int, int, int] = PREDICTION, *, opacity: float = 0.3
) -> NDArray[np.uint8]:
    """Tints a mask over a picture, with its border drawn, and returns the result as RGB."""
    picture = to_rgb(image)
    inside = np.asarray(mask) > 0
    picture[inside] = ((1 - opacity) * picture[inside] + opacity * np.array(colour)).astype(np.uint8)
    return outline(picture, mask, colour)


def heat(image: NDArray[Any], relevance: NDArray[Any], *, opacity: float = 0.6) -> NDArray[np.uint8]:
    """Lays a map over a picture, clear where it is 0 and bright yellow where it is 1, and returns the result as RGB.

    Args:
        image: gray or RGB.
        relevance: rows, columns, from 0 to 1.
        opacity: of the map where it is 1.
    """
    picture = to_rgb(image)
    relevance = np.clip(np.asarray(relevance, dtype=np.float32), 0, 1)
    # Inferno grows evenly brighter, so it reads the same without colour.
    colours = cv2.applyColorMap((relevance * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (opacity * relevance)[..., None]
    return ((1 - share) * picture + share * colours).round().astype(np.uint8)


def grid(
    rows: Sequence[Sequence[NDArray[Any]]],
    *,
    tile: int = 192,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Lays pictures out in rows and columns with titles, each fitted into a square tile, and returns one RGB picture.

    Args:
        rows: pictures by row; rows may differ in length.
        tile: edge of a tile in pixels.
        row_titles: text in the top left corner of each row's first tile.
        column_titles: text above the columns.
    """
    gap, header = _GAP, _HEADER if column_titles else 0
    columns = max(len(row) for row in rows)
    canvas = np.full((header + len(rows) * (tile + gap), columns * (tile + gap), 3), 24, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            fitted = _fit(to_rgb(picture), tile)
            y = header + r * (tile + gap) + (tile - fitted.shape[0]) // 2
            x = c * (tile + gap) + (tile - fitted.shape[1]) // 2
            canvas[y : y + fitted.shape[0], x : x + fitted.shape[1]] = fitted
        if r < len(row_titles):
            write_on(canvas, row_titles[r], (6, header + r * (tile + gap) + 16))
    for c, title in enumerate(column_titles):
        write_on(canvas, title, (c * (tile + gap) + 6, 15))
    return canvas


def tiles(picture: NDArray[np.uint8], *, columns: int, titled: bool) -> list[NDArray[np.uint8]]:
    """Takes the tiles of a one-row grid out again.

    Args:
        picture: what `grid` returned.
        columns: how many tiles it has.
        titled: whether it has titles above the columns.

    Raises:
        ValueError: if it is no such grid.
    """
    side, top = picture.shape[1] // columns, _HEADER if titled else 0
    if picture.shape[:2] != (top + side, columns * side):
        raise ValueError(f"no row of {columns} tiles: {picture.shape[1]} by {picture.shape[0]} pixels")
    edge = side - _GAP
    return [picture[top : top + edge, number * side : number * side + edge] for number in range(columns)]


def _fit(picture: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    scale = tile / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    fitted = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return fitted.astype(np.uint8, copy=False)


def write_on(picture: NDArray[np.uint8], text: str, position: tuple[int, int], *, scale: float = 0.45) -> None:
    """Writes on a picture, with a dark rim that keeps light text readable wherever it stands.

    Args:
        picture: RGB, is changed.
        text: what to write.
        position: column and row of its lower left corner.
        scale: 1 is letters of 22 pixels.
    """
    line = 1 if scale < 0.6 else 2
    for colour, thickness in (((0, 0, 0), line + 2), ((245, 245, 245), line)):
        cv2.putText(picture, text, position, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
