"""A scanner's screen around a picture, as those who photograph or save screens have it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.seeding import generator

SIZE = (768, 1024)
# Of the screen's free part, at most.
_ROOM = (560, 620)
_SETTINGS = ("BREAST L", "12L-RS 14MHz", "Gn 52 DR 60", "FR 38Hz", "MI 1.1 TIs .4")


def scanner_screen(
    gray: NDArray[np.uint8], seed: int, *, background: int = 0, sector: bool = False
) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
    """Returns a screen that shows a picture among settings, a scale and a gray bar, and where the picture lies on it.

    Args:
        gray: the picture; it is shown as large as fits.
        seed: of its place.
        background: the screen's own gray.
        sector: whether it is shown as the sector of a curved probe.
    """
    random = generator(seed, "scanner screen")
    scale = min(_ROOM[0] / gray.shape[0], _ROOM[1] / gray.shape[1])
    shown = cv2.resize(gray, None, fx=scale, fy=scale)
    rows, columns = shown.shape
    if sector:
        inside = np.zeros(shown.shape, np.uint8)
        radius = round(1.25 * rows)
        cv2.ellipse(inside, (columns // 2, -rows // 4), (radius, radius), 0, 50, 130, (255,), -1)
        shown = np.where(inside > 0, shown, background).astype(np.uint8)
    screen = np.full(SIZE, background, np.uint8)
    top, left = 90 + int(random.integers(0, 60)), 200 + int(random.integers(0, 150))
    screen[top : top + rows, left : left + columns] = shown
    for line, words in enumerate(_SETTINGS):
        cv2.putText(screen, words, (10, 120 + 30 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (200,), 1)
    cv2.putText(screen, "28/11/2026 14:02  PHANTOM", (200, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (220,), 1)
    cv2.putText(screen, "1 L 12.4 mm", (40, 740), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (230,), 1)
    for row in range(top, top + rows, 40):
        cv2.line(screen, (left + columns + 14, row), (left + columns + 22, row), (180,), 1)
    screen[100:400, 990:1005] = np.linspace(255, 0, 300)[:, None].astype(np.uint8)
    return screen, (slice(top, top + rows), slice(left, left + columns))
