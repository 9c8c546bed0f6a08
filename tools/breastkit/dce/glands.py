"""Fibroglandular tissue: where it lies in the breasts, how much of them it fills, and how much it enhances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import scipy
from numpy.typing import NDArray

from breastkit.transforms.breast_view import BreastView

# Skin, and fat that the coil makes bright, lie so near to the surface; no gland is looked for there.
_SKIN_MM = 3.0
# Noise is averaged over so many pixels.
_SMOOTH = 0.7
# So many pixels at most say where the threshold lies.
_PIXELS = 20000
# Where the curves of fat and gland are looked for first, as shares of all pixels.
_FIRST = (0.3, 0.97)
# Smallest share of the breast that is fibroglandular for each category of density.
DENSITY: Mapping[str, float] = {"a": 0.0, "b": 0.08, "c": 0.2, "d": 0.45}


def outline_glands(scan: NDArray[Any], breast: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.bool_]:
    """Returns the fibroglandular tissue within the breasts.

    How much pixels differ from the breast around them is taken for a mixture of two normal distributions. Fat fills
    most of a breast, so that gland is the one on the side of the tail: the bright one where fat is suppressed, else the
    dark one.

    Args:
        scan: [slice, row, column], before contrast.
        breast: mask of the same grid.
        spacing: of slices, rows and columns in millimetres.
    """
    result = np.zeros(np.shape(breast), dtype=bool)
    if not np.any(breast):
        return result
    view = BreastView.around(breast, spacing)
    pictures = view.pictures(scan, breast)
    inside = np.stack([_below_the_skin(one, view.pixel_mm) for one in view.masks(breast)])
    for picture in pictures:
        cv2.GaussianBlur(picture, (0, 0), _SMOOTH, dst=picture)
    values = pictures[inside]
    values = values[:: max(1, values.size // _PIXELS)]
    if values.size == 0 or np.ptp(values) <= 0:
        return result
    sign = 1.0 if scipy.stats.skew(values) >= 0 else -1.0
    over = np.where(inside, sign * pictures - np.float32(_threshold(sign * values)), np.float32(-1))
    result[view.window] = (view.restored(over) > 0) & (breast[view.window] > 0)
    return result


def _threshold(values: NDArray[np.float32]) -> float:
    """Returns from where on the higher of two normal distributions is the likelier one; infinite where it never is."""
    from sklearn.mixture import GaussianMixture

    first = np.quantile(values, _FIRST)[:, None]
    mixture = GaussianMixture(2, means_init=first, random_state=0).fit(values[:, None])
    fat, gland = np.argsort(mixture.means_[:, 0])
    steps = np.linspace(mixture.means_[fat, 0], values.max(), 1000)
    likelier = mixture.predict(steps[:, None]) == gland
    return float(steps[np.argmax(likelier)]) if likelier.any() else np.inf


def _below_the_skin(mask: NDArray[Any], pixel_mm: float) -> NDArray[np.bool_]:
    # A frame of nothing around it, so that what the picture cuts has a border too.
    framed = np.pad(np.asarray(mask, dtype=np.uint8), 1)
    deep: NDArray[np.bool_] = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1] * pixel_mm > _SKIN_MM
    return deep


@dataclass(frozen=True)
class GlandMeasures:
    """What is measured of the fibroglandular tissue of a breast.

    Attributes:
        breast_ml: volume of the breast.
        fgt_ml: volume of its fibroglandular tissue.
        bpe_mean: its enhancement in the first phase after contrast, mean of its voxels, as a share of the mean signal
            before; None where that is not known.
        bpe_quartile: the same of the quarter of its voxels that enhances most.
    """

    breast_ml: float
    fgt_ml: float
    bpe_mean: float | None = None
    bpe_quartile: float | None = None

    @property
    def share(self) -> float | None:
        """Of the breast that is fibroglandular; None without a breast."""
        return self.fgt_ml / self.breast_ml if self.breast_ml > 0 else None

    def density(self, thresholds: Mapping[str, float] = DENSITY) -> str | None:
        """Returns the category of density: the last one whose smallest share is reached."""
        share = self.share
        reached = [name for name, least in thresholds.items() if share is not None and share >= least]
        return reached[-1] if reached else None

    def rounded(self) -> dict[str, float | str | None]:
        """Returns all of it by name, as tables hold it."""
        digits = {"breast_ml": (self.breast_ml, 1), "fgt_ml": (self.fgt_ml, 1)}
        shares = {"bpe_mean": self.bpe_mean, "bpe_quartile": self.bpe_quartile}
        return {
            **{name: round(value, places) for name, (value, places) in digits.items()},
            "fgt_percent": None if self.share is None else round(100 * self.share, 2),
            "density": self.density(),
            **{name: None if value is None else round(value, 4) for name, value in shares.items()},
        }


def gland_measures(
    breast: NDArray[Any],
    glands: NDArray[Any],
    before: NDArray[Any],
    after: NDArray[Any],
    *,
    spacing: Sequence[float],
    shares: bool = True,
) -> GlandMeasures:
    """Returns what is measured of a breast.

    Args:
        breast: mask [slice, row, column].
        glands: its fibroglandular tissue, without lesions.
        before: the phase before contrast.
        after: the first one after it.
        spacing: of slices, rows and columns in millimetres.
        shares: whether intensities count from no signal, without which there are no shares of it.
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    breast_ml, fgt_ml = (float(np.count_nonzero(mask) * voxel_ml) for mask in (breast, glands))
    native = before[glands]
    level = float(native.mean(dtype=np.float64)) if native.size else 0.0
    if not shares or level <= 0:
        return GlandMeasures(breast_ml, fgt_ml)
    change = (after[glands] - native) / level
    most = np.sort(change)[-max(1, change.size // 4) :]
    return GlandMeasures(breast_ml, fgt_ml, float(change.mean(dtype=np.float64)), float(most.mean(dtype=np.float64)))
