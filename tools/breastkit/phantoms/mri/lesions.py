"""Lesions of a breast MRI phantom: their shapes, where they sit, and how they take up contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri.anatomy import Anatomy, Tissue
from breastkit.phantoms.mri.fields import Grid, noise, ramp

SHAPES = ("round", "lobulated", "irregular", "spiculated", "non_mass")
# Change of the signal from the first to the last post-contrast phase, relative to the first.
CURVES = {"persistent": (0.16, 0.4), "plateau": (-0.05, 0.05), "washout": (-0.35, -0.16)}


@dataclass
class Lesion:
    """One lesion.

    Args:
        shape: one of `SHAPES`; non_mass is enhancement in clumps, whose outline takes in the gland between them.
        curve: one of `CURVES`.
        diameter_mm: of the core; spicules reach further.
        uptake: rise of the signal from the pre-contrast to the first post-contrast phase, relative to the former.
        late_change: change from the first to the last post-contrast phase, relative to the former.
        rim: how much more its border takes up than its centre.
        signal: native brightness relative to fibroglandular tissue.
        side: "right" or "left", of the patient.
        centre: position (z, y, x) in mm.
    """

    shape: str
    curve: str
    diameter_mm: float
    uptake: float
    late_change: float
    rim: float
    signal: float
    side: str = ""
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)


def check_shapes(shapes: Sequence[str]) -> tuple[str, ...]:
    """Returns shapes of lesions as they are given.

    Raises:
        BreastkitError: if there is none, or no such shape.
    """
    unknown = [shape for shape in shapes if shape not in SHAPES] or ([] if shapes else [""])
    if unknown:
        raise BreastkitError(f"{unknown[0] or 'Nothing'} is no shape of a lesion; give some of {', '.join(SHAPES)}.")
    return tuple(shapes)


def draw_lesion(
    rng: np.random.Generator, *, shapes: dict[str, float], curves: dict[str, float], diameter_mm: float, rim: float
) -> Lesion:
    """Draws a lesion whose shape and curve follow the given odds."""
    shape, curve = (str(rng.choice(list(odds), p=list(odds.values()))) for odds in (shapes, curves))
    return Lesion(
        shape=shape,
        curve=curve,
        diameter_mm=float(diameter_mm),
        uptake=float(rng.uniform(0.6, 1.2) if curve == "persistent" else rng.uniform(0.7, 2.2)),
        late_change=float(rng.uniform(*CURVES[curve])),
        rim=float(rim),
        signal=float(rng.uniform(0.7, 1.15)),
    )


def place_lesions(
    rng: np.random.Generator, lesions: list[Lesion], anatomy: Anatomy, grid: Grid
) -> tuple[NDArray[Any], NDArray[Any], list[Lesion]]:
    """Puts lesions into the breasts, mostly where there is fibroglandular tissue.

    Returns:
        The label map (1 for the first lesion), the uptake of each lesion voxel relative to its lesion's, and the
        lesions placed: one whose place was taken is left out.
    """
    labels = np.zeros(grid.shape, dtype=np.uint8)
    texture = np.ones(grid.shape, dtype=np.float32)
    room = anatomy.breast & ~np.isin(anatomy.tissue, (Tissue.SKIN, Tissue.NIPPLE, Tissue.IMPLANT, Tissue.SHELL))
    placed: list[Lesion] = []
    for lesion in lesions:
        centre = _place(rng, lesion, anatomy, room & (labels == 0), grid)
        if centre is None:
            continue
        window, mask, pattern = _grow(rng, lesion, centre, grid)
        mask &= room[window] & (labels[window] == 0)
        mask = _main_part(mask, tuple(c - w.start for c, w in zip(centre, window, strict=True)))
        if not mask.any():
            continue
        labels[window][mask] = len(placed) + 1
        texture[window][mask] = pattern[mask]
        at_z, at_y, at_x = (f + s * c for f, s, c in zip(grid.first, grid.steps(), centre, strict=True))
        lesion.centre = (at_z, at_y, at_x)
        lesion.side = "right" if lesion.centre[2] < 0 else "left"
        placed.append(lesion)
    return labels, texture, placed


def _place(
    rng: np.random.Generator, lesion: Lesion, anatomy: Anatomy, room: NDArray[Any], grid: Grid
) -> tuple[int, int, int] | None:
    """Draws a voxel with room around it, four times as likely within fibroglandular tissue."""
    candidates = np.flatnonzero(room)
    if not candidates.size:
        return None
    candidates = rng.choice(candidates, size=min(400, candidates.size), replace=False)
    margin = 0.55 * lesion.diameter_mm
    free = np.minimum(anatomy.depth.ravel()[candidates] - 2, anatomy.chest_depth.ravel()[candidates])
    weights = (0.25 + anatomy.gland.ravel()[candidates]) * np.where(free >= margin, 1.0, 1e-4 * np.exp(free - margin))
    chosen = rng.choice(candidates, p=weights / weights.sum())
    z, y, x = (int(i) for i in np.unravel_index(chosen, grid.shape))
    return z, y, x


def _grow(
    rng: np.random.Generator, lesion: Lesion, centre: tuple[int, int, int], grid: Grid
) -> tuple[tuple[slice, ...], NDArray[Any], NDArray[Any]]:
    """Shapes a lesion in a window around its centre; returns the window, its mask and its uptake pattern."""
    radius = lesion.diameter_mm / 2
    reach = radius * (2.2 if lesion.shape in ("spiculated", "non_mass") else 1.5) + 1
    window = tuple(
        slice(max(0, int(c - reach / s)), min(n, int(c + reach / s) + 2))
        for c, s, n in zip(centre, grid.spacing, grid.shape, strict=True)
    )
    steps = grid.steps()
    position = np.stack(
        np.broadcast_arrays(
            *(
                axis * step
                for axis, step in zip(
                    np.ogrid[tuple(slice(w.start - c, w.stop - c) for w, c in zip(window, centre, strict=True))],
                    steps,
                    strict=True,
                )
            )
        ),
        axis=-1,
    ).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    stretch = np.exp(rng.normal(0, {"round": 0.08, "non_mass": 0.3}.get(lesion.shape, 0.2), 3))
    local = position @ rotation / (radius * stretch)
    patch = Grid(position.shape[:3], grid.spacing, (0.0, 0.0, 0.0))
    level = _level(rng, lesion, local, patch, radius)
    mask = level < 1
    if lesion.shape == "spiculated":
        mask |= _spicules(rng, position, radius, min(grid.spacing))
    mask[tuple(c - w.start for c, w in zip(centre, window, strict=True))] = True
    pattern = (
        1 + lesion.rim * (ramp(level, 0.2, 0.9) - 0.6) + rng.uniform(0, 0.25) * noise(rng, patch, max(2.5, radius / 2))
    )
    if lesion.shape == "non_mass":
        pattern = _clumps(rng, patch)
    return window, mask, np.clip(pattern, 0.1, 2.0)


def _clumps(rng: np.random.Generator, patch: Grid) -> NDArray[Any]:
    """Returns the uptake of enhancement in clumps of a few millimetres, little between them."""
    clumps: NDArray[Any] = rng.uniform(0.45, 0.75) + rng.uniform(0.3, 0.6) * noise(rng, patch, rng.uniform(2.5, 6.0))
    return clumps


def _level(rng: np.random.Generator, lesion: Lesion, local: NDArray[Any], patch: Grid, radius: float) -> NDArray[Any]:
    """Returns a level function that is below 1 inside the lesion's core."""
    away = np.linalg.norm(local, axis=-1)
    if lesion.shape == "lobulated":
        lobes = [away / 0.75]
        for _ in range(rng.integers(3, 7)):
            at = rng.standard_normal(3)
            at *= rng.uniform(0.4, 0.7) / np.linalg.norm(at)
            lobes.append(np.linalg.norm(local - at, axis=-1) / rng.uniform(0.4, 0.6))
        level: NDArray[Any] = np.minimum.reduce(lobes)
        return level
    rough = {"round": 0.05, "irregular": 0.3, "spiculated": 0.16, "non_mass": 0.4}[lesion.shape]
    bumps = noise(rng, patch, max(radius * 0.8, 1.5)) + 0.6 * noise(rng, patch, max(radius * 0.35, 1.0))
    uneven: NDArray[Any] = away + rough * bumps
    return uneven


def _spicules(rng: np.random.Generator, position: NDArray[Any], radius: float, voxel: float) -> NDArray[Any]:
    """Returns thin cones that radiate from the centre."""
    mask = np.zeros(position.shape[:3], dtype=bool)
    away = np.linalg.norm(position, axis=-1)
    for _ in range(rng.integers(9, 22)):
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        length = radius * rng.uniform(1.25, 2.1)
        along = position @ direction.astype(np.float32)
        aside = np.sqrt(np.maximum(away**2 - along**2, 0))
        width = np.maximum(0.3 * radius * (1 - along / length), 0.45 * voxel)
        mask |= (along > 0) & (along < length) & (aside < width)
    return mask


def _main_part(mask: NDArray[Any], seed: tuple[int, ...]) -> NDArray[Any]:
    """Keeps the part that holds the centre, so that a lesion is one piece."""
    parts, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    return mask if count <= 1 or not parts[seed] else parts == parts[seed]
