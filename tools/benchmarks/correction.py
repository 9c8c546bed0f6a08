"""What registration and N4 gain on phantoms in which a shift, a turn and coil shading were planted."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import ndimage

from benchmarks.measured import Measured
from benchmarks.orientation import SHAPE
from breastkit.dce.correction import motion_between, moved_back, shading_of
from breastkit.dce.voxel_box import Grid
from breastkit.metrics import Interval, bootstrap_interval
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.progress import parallel_map
from breastkit.seeding import generator

# Planted: millimetres along each axis, degrees about the axis of the body, and how strong the shading is.
_SHIFT_MM, _TURN_DEGREES, _SHADING = 6.0, 2.0, 0.4


def correction_gain(
    *, cases: int = 10, seed: int = 0, shape: tuple[int, int, int] = SHAPE, workers: int | None = None
) -> dict[str, Interval]:
    """Tells what is left of planted motion and shading.

    Args:
        cases: how many phantoms to make, each with a lesion.
        seed: of the phantoms and of what is planted.
        shape: columns, rows and slices.
        workers: number of processes.

    Returns:
        Means with 95 % intervals: the contrast of the lesions in the subtraction, in standard deviations of the rest of
        the breasts, with motion and without it, and the standard deviation of the logarithm of the shading in the
        breasts, as planted and as N4 left it.
    """
    jobs = list(range(1, cases + 1))
    rows = parallel_map(partial(_measured, seed=seed, shape=shape), jobs, "Correcting", workers=workers, unit="phantom")
    return {name: bootstrap_interval([row[name] for row in rows]) for name in rows[0]}


def _measured(case: int, *, seed: int, shape: tuple[int, int, int]) -> dict[str, float]:
    phantom = make_mri_phantom(seed, case, shape=shape, phases=2, lesions=1, orientation="LPS")
    grid = Grid.of(shape, phantom.affine)
    pre, post = (grid.turn(phase.astype(np.float32)) for phase in phantom.phases)
    breast, lesion = (grid.turn(mask) > 0 for mask in (phantom.breast, phantom.lesions))
    spacing = np.linalg.norm(phantom.affine[:3, :3], axis=0)[::-1]
    random = generator(seed, "planted", case)
    turned = ndimage.rotate(pre, random.uniform(-_TURN_DEGREES, _TURN_DEGREES), (1, 2), reshape=False, order=1)
    moved = ndimage.shift(turned, random.uniform(-_SHIFT_MM, _SHIFT_MM, 3) / spacing, order=1, mode="nearest")
    # The phase after contrast stays, with the truth on it, and the one before moves: the same motion seen from there.
    motion = motion_between(post, moved, breast, spacing)
    back = moved if motion is None else moved_back(moved, motion, spacing)
    field = _planted_field(pre.shape, random)
    found = shading_of(pre * field, spacing)
    return {
        "lesion contrast as it was": _contrast(post - pre, breast, lesion),
        "lesion contrast with motion": _contrast(post - moved, breast, lesion),
        "lesion contrast registered": _contrast(post - back, breast, lesion),
        "shading planted": float(np.log(field[breast]).std()),
        "shading left": float(np.log(field[breast] / found[breast]).std()),
    }


def _contrast(subtraction: np.ndarray, breast: np.ndarray, lesion: np.ndarray) -> float:
    rest = subtraction[breast & ~lesion]
    return float((subtraction[lesion].mean() - rest.mean()) / rest.std())


def _planted_field(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    slopes, bends = random.uniform(-_SHADING, _SHADING, (2, 3))
    return np.exp(sum(a * x + b * x * x for a, b, x in zip(slopes, bends, axes, strict=True))).astype(np.float32)


def main() -> Measured:
    """Runs the benchmark."""
    cases = 10
    figures = correction_gain(cases=cases)
    means = "; ".join(f"{name} {interval.text()}" for name, interval in figures.items())
    line = f"correction: {cases} phantoms, mean (95 % interval): {means}"
    return Measured({"cases": cases, **{name: one._asdict() for name, one in figures.items()}}, (line,))
