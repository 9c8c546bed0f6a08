"""When contrast arrives in a fast dynamic scan, and which of its volumes are the phases that lesion networks know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.dicom import Series, read_series, seconds_between

# The first phase after contrast of usual protocols has its middle about so long after the arrival.
EARLY_S = 90.0
# Contrast has arrived when the voxels that rise most have this share of their rise.
_RISEN = 0.2
_RISING_SHARE = 0.01
# So many voxels along each axis tell enough.
_SAMPLED = 48
# Phases after the early one, spread evenly over the rest: enough for a curve, little enough for the memory.
_LATER = 4


@dataclass(frozen=True)
class Arrival:
    """The volumes of a fast dynamic scan that stand for its phases, by number.

    Attributes:
        pre: the last volume before contrast arrives.
        posts: the early phase, then later ones.
        early_s: seconds from the arrival to the early phase.
    """

    pre: int
    posts: tuple[int, ...]
    early_s: float


def find_arrival(volumes: Sequence[Series], *, early_s: float = EARLY_S) -> Arrival:
    """Finds the arrival of contrast by signal, and the volumes before it and about ``early_s`` after it.

    Args:
        volumes: at least three of one scan, in time; a missing clock is taken as even steps over six minutes.
        early_s: which time after the arrival is wanted.

    Raises:
        BreastkitError: if a volume cannot be read.
    """
    samples = [_sample(read_series(one).array) for one in volumes]
    pre = last_before_rise(np.stack(samples))
    starts = [seconds_between(volumes[0], one) for one in volumes]
    known = [begin for begin in starts if begin is not None]
    begins = known if len(known) == len(starts) else np.linspace(0.0, 360.0, len(volumes)).tolist()
    after = range(pre + 1, len(volumes))
    early = min(after, key=lambda number: abs(begins[number] - begins[pre] - early_s))
    later = np.unique(np.linspace(early, len(volumes) - 1, _LATER + 1).round().astype(int))
    return Arrival(pre, tuple(int(number) for number in later), float(begins[early] - begins[pre]))


def _sample(volume: NDArray[Any]) -> NDArray[Any]:
    steps = tuple(slice(None, None, max(1, size // _SAMPLED)) for size in volume.shape)
    return volume[steps].astype(np.float32).ravel()


def last_before_rise(signals: NDArray[Any]) -> int:
    """Returns the number of the last time before the signal rises.

    Args:
        signals: [time, voxel], at least two times.
    """
    rise = signals.max(axis=0) - signals[0]
    count = max(1, int(_RISING_SHARE * rise.size))
    curve = signals[:, np.argpartition(rise, -count)[-count:]].mean(axis=1)
    # The first volumes of a scan may be brighter, before magnetisation has settled, so its lowest counts as the base.
    base = curve.min()
    risen = np.flatnonzero(curve - base > _RISEN * (curve.max() - base))
    after_lowest = risen[risen > int(curve.argmin())]
    return int(np.clip((after_lowest[0] if after_lowest.size else 1) - 1, 0, len(curve) - 2))
