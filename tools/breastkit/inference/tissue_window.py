"""Where a picture taken of a scanner's screen shows tissue: what is around it is no tissue to be read."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

EVERYTHING = slice(None), slice(None)
# Shares of the shorter side: over what pixels are averaged, and what is too thin for tissue, as text and scales are.
_GRAIN, _THIN = 0.02, 0.08
# What differs so much from the screen's own gray is something shown.
_SHOWN = 8
# Of the picture: what tissue covers at least, and a margin that is worth cutting away.
_LEAST, _MARGIN = 0.08, 0.02
# Another part of this share of the largest is a second picture and no mark.
_SECOND = 0.3
# Around tissue little is shown.
_AROUND = 0.15


def tissue_window(gray: NDArray[Any]) -> tuple[slice, slice]:
    """Returns the rows and columns of a picture that show tissue, all of them where that is not clear.

    Only where a screen frames the tissue on three sides at least it is cut out: what is dark below the tissue is tissue
    that sound did not reach, and stays.

    Args:
        gray: the picture, 8-bit.
    """
    side = min(gray.shape)
    grain, thin = (max(3, round(share * side) | 1) for share in (_GRAIN, _THIN))
    shown = cv2.absdiff(gray, np.full_like(gray, _gray_of_screen(gray)))
    parts: NDArray[Any] = (cv2.blur(shown, (grain, grain)) > _SHOWN).astype(np.uint8)
    parts = cv2.morphologyEx(parts, cv2.MORPH_CLOSE, np.ones((grain, grain), np.uint8))
    # Tissue that reaches the border is not thin there.
    bordered = cv2.copyMakeBorder(parts, *(thin,) * 4, cv2.BORDER_REPLICATE)
    parts = cv2.morphologyEx(bordered, cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8))[thin:-thin, thin:-thin]
    count, _, found, _ = cv2.connectedComponentsWithStats(parts)
    if count < 2:
        return EVERYTHING
    areas = np.sort(found[1:, cv2.CC_STAT_AREA])[::-1]
    left, top, width, height = found[1 + np.argmax(found[1:, cv2.CC_STAT_AREA]), : cv2.CC_STAT_AREA]
    window = slice(int(top), int(top + height)), slice(int(left), int(left + width))
    around = np.ones(gray.shape, bool)
    around[window] = False
    rows, columns = gray.shape
    margins = (top / rows, 1 - (top + height) / rows, left / columns, 1 - (left + width) / columns)
    is_framed = (
        sum(margin > _MARGIN for margin in margins) >= 3
        and areas[0] >= _LEAST * gray.size
        and (count == 2 or areas[1] < _SECOND * areas[0])
        and (shown[around] > _SHOWN).mean() < _AROUND
    )
    return window if is_framed else EVERYTHING


def _gray_of_screen(gray: NDArray[Any]) -> int:
    border = np.concatenate((gray[0], gray[-1], gray[:, 0], gray[:, -1]))
    return int(np.bincount(border).argmax())
