"""Breast implants of MRI phantoms: a smooth, homogeneous filling in a thin shell, which takes up no contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri.anatomy import Anatomy, Breast, Tissue
from breastkit.phantoms.mri.fields import Grid
from breastkit.phantoms.mri.signal import Scan

# Signal of the filling where glandular tissue has 1: saline and suppressed silicone are dark, silicone may be bright.
FILLINGS = {"dark": (0.03, 0.2), "bright": (1.3, 2.2)}
_SHELL_SIGNAL = (0.0, 0.05)
_SHELL_MM = 1.5
# So much tissue lies at least between an implant and the skin.
_COVER_MM = 8.0


def check_filling(filling: str | None) -> None:
    """Refuses an implant that there is not.

    Raises:
        BreastkitError: if it is neither None nor one of `FILLINGS`.
    """
    if filling is not None and filling not in FILLINGS:
        raise BreastkitError(f"There is no implant called {filling}; choose one of {', '.join(FILLINGS)}.")


def place_implant(rng: np.random.Generator, filling: str, anatomy: Anatomy, scan: Scan, grid: Grid) -> NDArray[Any]:
    """Puts an implant into one breast, in front of the muscle, and its signal into the scan.

    Args:
        rng: random numbers of its own, so that what else is drawn stays the same.
        filling: one of `FILLINGS`.
        anatomy: is changed where the implant lies.
        scan: learns how bright filling and shell are; neither rises after contrast.
        grid: of the anatomy.

    Returns:
        The mask of the implant with its shell.
    """
    breast = anatomy.body.breasts[int(rng.integers(len(anatomy.body.breasts)))]
    mask: NDArray[Any] = _ellipsoid(rng, breast, grid) & anatomy.breast & (anatomy.depth > _COVER_MM)
    steps = [max(1, round(_SHELL_MM / step)) for step in grid.spacing]
    inner = ndimage.binary_erosion(mask, np.ones([2 * step + 1 for step in steps]))
    anatomy.tissue[mask] = Tissue.SHELL
    anatomy.tissue[inner] = Tissue.IMPLANT
    anatomy.gland[mask] = 0
    for tissue, signal in ((Tissue.IMPLANT, FILLINGS[filling]), (Tissue.SHELL, _SHELL_SIGNAL)):
        scan.water[tissue.name.lower()], scan.rise[tissue.name.lower()] = float(rng.uniform(*signal)), 0.0
    return mask


def _ellipsoid(rng: np.random.Generator, breast: Breast, grid: Grid) -> NDArray[Any]:
    z, y, x = grid.axes()
    half = breast.length * rng.uniform(0.28, 0.38)
    tall = (breast.radius_up + breast.radius_down) / 2 * rng.uniform(0.55, 0.75)
    wide = breast.radius_x * rng.uniform(0.6, 0.8)
    # Its back lies on the muscle.
    middle = breast.base_y + 0.9 * half
    inside: NDArray[Any] = (
        np.square((z - breast.centre_z) / tall)
        + np.square((y - middle) / half)
        + np.square((x - breast.centre_x) / wide)
    ) < 1
    return inside
