"""What may be wrong with an ultrasound picture before any network looks at it: remarks by code.

No remark stops a picture; one of a single gray value is refused where it is read. The limits lie where hardly any
picture of BUSI and BUS-BRA gets a remark.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.inference.ultrasound_inputs import UltrasoundPicture

REMARKS = {
    "colour": "It has coloured parts, as of Doppler or marks: the networks have learnt from gray pictures.",
    "not_ultrasound": "Most of it is coloured: it looks like a photograph and not like ultrasound.",
    "too_small": "It has few pixels: the networks have learnt from larger pictures.",
    "too_dark": "It is darker than nearly all pictures the networks have learnt from.",
    "several_panels": "It seems to show several pictures side by side: cut them apart.",
    "screen": "It shows a scanner's screen: only the part of it that shows tissue was read.",
    "overlays": "Bright marks, text or callipers cover much of it.",
    "lesion_cut": "The outline reaches the border: part of the lesion may be outside the picture.",
}
_LEAST_SIDE = 100
_DARK_MEAN = 22.0
_COLOURED, _PHOTOGRAPH = 0.005, 0.3
# A column is black where hardly a pixel of it is brighter; a gap between panels is this share of the width.
_BLACK, _GAP = 12, 0.01
# A mark stands out from what is around it by so much, and covers so much of a picture.
_MARK, _MARKED = 90, 0.005


def remarks_on(picture: UltrasoundPicture) -> tuple[str, ...]:
    """Returns the codes of what may be wrong with a picture, in the order of `REMARKS`."""
    gray = picture.tissue
    found = {
        "colour": _COLOURED < picture.colour <= _PHOTOGRAPH,
        "not_ultrasound": picture.colour > _PHOTOGRAPH,
        "too_small": min(gray.shape) < _LEAST_SIDE,
        "too_dark": float(gray.mean()) < _DARK_MEAN,
        "several_panels": _has_gap(gray),
        "screen": picture.is_screen,
        "overlays": _marked(gray) > _MARKED,
    }
    return tuple(code for code, there in found.items() if there)


def remarks_on_outline(mask: NDArray[Any]) -> tuple[str, ...]:
    """Returns the codes of what may be wrong with an outline in the part of a picture that shows tissue."""
    border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    return ("lesion_cut",) if border else ()


def _has_gap(gray: NDArray[Any]) -> bool:
    """Tells whether black columns divide the middle half of a picture, with something on both sides."""
    width = gray.shape[1]
    bright = np.percentile(gray, 95, axis=0)
    black = bright < _BLACK
    least = max(2, round(_GAP * width))
    middle = slice(width // 4, width - width // 4)
    runs = np.flatnonzero(np.convolve(black[middle], np.ones(least), "valid") >= least)
    sides = (~black[: width // 4]).mean(), (~black[width - width // 4 :]).mean()
    return bool(runs.size) and min(sides) > 0.5


def _marked(gray: NDArray[Any]) -> float:
    around = cv2.medianBlur(np.ascontiguousarray(gray), 5)
    return float((cv2.subtract(gray, around) > _MARK).mean())
