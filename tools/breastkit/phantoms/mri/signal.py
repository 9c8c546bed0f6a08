"""From tissue to a dynamic MRI series: contrast, enhancement, fat suppression, coils, motion, noise.

The scan is drawn as widely as SynthSeg does: the brightness of each tissue around that of a T1-weighted gradient echo,
everything else over the range that scanners and patients span.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from breastkit.phantoms.mri.anatomy import Anatomy, Tissue
from breastkit.phantoms.mri.fields import Grid, interpolate, noise, ramp
from breastkit.phantoms.mri.lesions import Lesion

# Native signal and rise at the first post-contrast phase of what is not fat, as ranges; glandular tissue has signal 1.
_WATER = {
    Tissue.AIR: ((0.0, 0.0), (0.0, 0.0)),
    Tissue.FAT: ((0.02, 0.15), (0.0, 0.1)),
    Tissue.SKIN: ((0.8, 2.6), (0.0, 0.4)),
    Tissue.MUSCLE: ((0.55, 1.1), (0.02, 0.25)),
    Tissue.BONE: ((0.15, 0.8), (0.0, 0.2)),
    Tissue.MARROW: ((0.3, 0.7), (0.05, 0.4)),
    Tissue.LUNG: ((0.02, 0.22), (0.1, 0.8)),
    Tissue.HEART: ((0.5, 1.0), (0.6, 1.8)),
    Tissue.BLOOD: ((0.4, 1.0), (1.0, 3.2)),
    Tissue.LIVER: ((0.8, 1.5), (0.3, 1.1)),
    Tissue.GUT: ((0.3, 1.1), (0.05, 0.8)),
    Tissue.NODE: ((0.6, 1.1), (0.4, 1.6)),
    Tissue.NIPPLE: ((0.9, 1.8), (0.2, 1.2)),
    Tissue.MARKER: ((2.0, 4.0), (0.0, 0.0)),
}
_FAT_FRACTION = {Tissue.FAT: 1.0, Tissue.MARROW: 0.6, Tissue.NODE: 0.1, Tissue.SKIN: 0.1}
FAT_SUPPRESSION = {"complete": (0.2, 0.75), "partial": (0.75, 1.5), "none": (1.6, 3.2)}


@dataclass
class Scan:
    """What was drawn for one scan; see `draw_scan` for the ranges."""

    fat_suppression: str
    fat_signal: float
    failure: float
    opposed_phase: bool
    water: dict[str, float]
    rise: dict[str, float]
    background_enhancement: float
    coil: float
    coil_reach_mm: float
    skin_glow: float
    halo: float
    noise: float
    blur: float
    slice_blur: float
    ghost: float
    shifts_mm: list[tuple[float, float, float]]
    times_s: list[float]
    scale: float


def draw_scan(rng: np.random.Generator, *, phases: int) -> Scan:
    """Draws a scan: sequence, contrast, coil, artefacts and timing of its phases (the first one before contrast)."""
    suppression = str(rng.choice(list(FAT_SUPPRESSION), p=[0.6, 0.2, 0.2]))
    wild = 0.35 if rng.uniform() < 0.25 else 0.1
    water, rise = {}, {}
    for tissue, (native, gain) in _WATER.items():
        water[tissue.name.lower()] = float(rng.uniform(*native) * np.exp(rng.normal(0, wild)))
        rise[tissue.name.lower()] = float(rng.uniform(*gain))
    first, step = rng.uniform(80, 150), rng.uniform(55, 110)
    # The truth belongs to the first post-contrast phase; the patient moves before and after it.
    still = rng.uniform() < 0.3
    shifts = [(0.0, 0.0, 0.0) if p == 1 or still else _shift(rng) for p in range(phases)]
    return Scan(
        fat_suppression=suppression,
        fat_signal=float(rng.uniform(*FAT_SUPPRESSION[suppression])),
        failure=float(rng.choice([0.0, rng.uniform(0.3, 2.5)], p=[0.2, 0.8])) if suppression != "none" else 0.0,
        opposed_phase=bool(rng.uniform() < (0.15 if suppression == "none" else 0.5)),
        water=water,
        rise=rise,
        background_enhancement=float(rng.choice([rng.uniform(0, 0.2), rng.uniform(0.2, 0.65)])),
        coil=float(rng.choice([rng.uniform(0, 0.3), rng.uniform(0.6, 1.0)], p=[0.2, 0.8])),
        coil_reach_mm=float(rng.uniform(50, 120)),
        skin_glow=float(rng.choice([0.0, rng.uniform(0.1, 1.2)])),
        halo=float(rng.choice([0.0, rng.uniform(0.05, 0.4)], p=[0.35, 0.65])),
        noise=float(np.exp(rng.uniform(np.log(0.015), np.log(0.14)))),
        blur=float(rng.uniform(0.25, 0.75)),
        slice_blur=float(rng.uniform(0.0, 0.6)),
        ghost=float(rng.choice([0.0, rng.uniform(0.01, 0.08)], p=[0.6, 0.4])),
        shifts_mm=shifts,
        times_s=[0.0] + [float(first + step * p) for p in range(phases - 1)],
        scale=float(np.exp(rng.uniform(np.log(60), np.log(1500)))),
    )


def _shift(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draws how far a patient moves between two phases, in mm."""
    z, y, x = (float(v) for v in rng.normal(0, rng.uniform(0.2, 1.2), 3))
    return z, y, x


def acquire(
    rng: np.random.Generator,
    scan: Scan,
    anatomy: Anatomy,
    grid: Grid,
    lesions: list[Lesion],
    lesion_labels: NDArray[Any],
    lesion_texture: NDArray[Any],
) -> list[NDArray[Any]]:
    """Returns the phases of a scan as int16 volumes (z, y, x), the one before contrast first."""
    tissue, gland = anatomy.tissue, anatomy.gland
    coarse = grid.coarse(max(6.0, min(grid.spacing)))
    weight = _coil(rng, scan, anatomy, grid, coarse)
    fat = _fat_signal(rng, scan, anatomy, grid, coarse)
    grain = 1 + rng.uniform(0.02, 0.15) * noise(rng, grid, rng.uniform(3, 7))
    patches = np.clip(1 + 0.5 * interpolate(noise(rng, coarse, 16.0), grid.shape), 0, 2)
    lipid = _blur(fat * (1 - gland) * (lesion_labels == 0), scan)
    ringing = _ghost_pattern(rng, grid)
    volumes = []
    for phase in range(len(scan.times_s)):
        water = np.take(_water_table(scan, phase), tissue)
        water += (
            gland * anatomy.brightness * grain * (1 + scan.background_enhancement * _late(scan, phase, 0.25) * patches)
        )
        _add_lesions(water, scan, phase, lesions, lesion_labels, lesion_texture)
        water = _blur(water * grain, scan)
        signal = np.abs(water - lipid) if scan.opposed_phase else water + lipid
        signal *= weight
        if scan.halo:
            signal += _glow(signal, grid, anatomy) * scan.halo
        if scan.ghost:
            signal += scan.ghost * ringing * np.roll(signal, grid.shape[2] // 6, axis=2)
        signal = _moved(signal, scan.shifts_mm[phase], grid)
        volumes.append(_digitise(rng, signal, scan))
    return volumes


def _late(scan: Scan, phase: int, change: float) -> float:
    """Returns the enhancement of a phase as a share of the first post-contrast one's, `change` more at the end."""
    if phase == 0:
        return 0.0
    span = scan.times_s[-1] - scan.times_s[1]
    return 1 + change * ((scan.times_s[phase] - scan.times_s[1]) / span if span else 0.0)


def _water_table(scan: Scan, phase: int) -> NDArray[Any]:
    table = np.zeros(len(Tissue), dtype=np.float32)
    for tissue in Tissue:
        change = -0.3 if tissue in (Tissue.BLOOD, Tissue.HEART) else 0.15
        name = tissue.name.lower()
        if name not in scan.water:
            # Few bodies hold everything; what none of a scan's tissues is has no signal in it.
            continue
        table[tissue] = scan.water[name] * (1 + scan.rise[name] * _late(scan, phase, change))
    return table


def _add_lesions(
    water: NDArray[Any],
    scan: Scan,
    phase: int,
    lesions: list[Lesion],
    labels: NDArray[Any],
    texture: NDArray[Any],
) -> None:
    """Sets the signal of lesions after their curves."""
    for number, lesion in enumerate(lesions, start=1):
        inside = labels == number
        pattern = texture[inside]
        first = lesion.signal * (1 + lesion.uptake * pattern)
        value = first * _late(scan, phase, lesion.late_change) if phase else np.full_like(pattern, lesion.signal)
        water[inside] = value


def _fat_signal(rng: np.random.Generator, scan: Scan, anatomy: Anatomy, grid: Grid, coarse: Grid) -> NDArray[Any]:
    """Returns the signal of fat: low where suppression works, bright where the field is off, as below the breasts."""
    table = np.zeros(len(Tissue), dtype=np.float32)
    for tissue, fraction in _FAT_FRACTION.items():
        table[tissue] = fraction
    fat = scan.fat_signal * np.take(table, anatomy.tissue)
    if scan.failure:
        z = coarse.axes()[0]
        body = anatomy.body
        below = ramp(z, body.fold + rng.uniform(0, 40), body.fold - rng.uniform(10, 40)) * rng.choice(
            [0.0, 1.0], p=[0.3, 0.7]
        )
        above = ramp(z, 60, 120) * rng.choice([0.0, 1.0], p=[0.7, 0.3])
        field = np.clip(0.9 * noise(rng, coarse, rng.uniform(60, 120)) - 0.5, 0, 2) + below + 0.7 * above
        near = np.clip(noise(rng, coarse, 35.0) - 0.9, 0, 1) * rng.choice([0.0, 1.5])
        fat *= 1 + scan.failure * interpolate(field + near, grid.shape)
    fat *= 1 + rng.uniform(0.02, 0.15) * noise(rng, grid, (3.0, rng.uniform(4, 14), 3.0))
    return np.maximum(fat, 0)


def _coil(rng: np.random.Generator, scan: Scan, anatomy: Anatomy, grid: Grid, coarse: Grid) -> NDArray[Any]:
    """Returns the sensitivity of coils around each breast, and the bright rim where skin touches them."""
    z, y, x = coarse.axes()
    reach = scan.coil_reach_mm
    near = np.zeros(coarse.shape, dtype=np.float32)
    for breast in anatomy.body.breasts:
        for side in (-1, 1):
            at = (
                breast.centre_z + rng.normal(0, 10),
                breast.base_y + breast.length * rng.uniform(0.2, 0.8),
                breast.centre_x + side * breast.radius_x * rng.uniform(0.3, 1.1),
            )
            away = sum(np.square(c - a) for c, a in zip((z, y, x), at, strict=True)) / reach**2
            near += rng.uniform(0.6, 1.4) * (1 + away) ** -rng.uniform(1.2, 2.2)
    near /= np.percentile(near, 97)
    weight = (1 - scan.coil) + scan.coil * near
    weight *= np.exp(rng.uniform(0.05, 0.25) * noise(rng, coarse, 130.0))
    # The excited slab fades at its ends.
    fade = rng.choice([0.0, rng.uniform(0.03, 0.15)])
    if fade:
        place = np.linspace(0, 1, coarse.shape[0], dtype=np.float32)[:, None, None]
        weight *= rng.uniform(0.15, 0.6) + (1 - rng.uniform(0.15, 0.6)) * ramp(
            np.minimum(place, 1 - place), -0.02, fade
        )
    weight = interpolate(weight, grid.shape)
    if scan.skin_glow:
        touch = np.clip(interpolate(noise(rng, coarse, 50.0), grid.shape) + 0.3, 0, 2)
        depth = np.maximum(anatomy.depth, 0)
        weight *= 1 + scan.skin_glow * touch * np.exp(depth * np.float32(-1 / rng.uniform(2, 9)))
    return np.maximum(weight, 0.01)


def _blur(volume: NDArray[Any], scan: Scan) -> NDArray[Any]:
    """Blurs by the point spread: within slices, and into the neighbours by thick slices."""
    blurred = np.empty_like(volume)
    for source, target in zip(volume, blurred, strict=True):
        cv2.GaussianBlur(source, (0, 0), scan.blur, dst=target, borderType=cv2.BORDER_REPLICATE)
    if scan.slice_blur > 0.1 and len(blurred) > 2:
        side = scan.slice_blur / 4
        inner = (1 - 2 * side) * blurred[1:-1] + side * (blurred[:-2] + blurred[2:])
        blurred[1:-1] = inner
    return blurred


def _glow(signal: NDArray[Any], grid: Grid, anatomy: Anatomy) -> NDArray[Any]:
    """Returns the faint copy of bright borders that motion and truncation leave in the air around the breasts."""
    spread = max(1.0, 6.0 / grid.spacing[2])
    glow = np.empty_like(signal)
    for source, target in zip(signal, glow, strict=True):
        cv2.GaussianBlur(source, (0, 0), spread, dst=target)
    # Between slices the copy reaches farther: above and below, a breast that ends still shows.
    ndimage.uniform_filter1d(glow, max(1, round(16.0 / grid.spacing[0])), axis=0, output=glow)
    return np.where(anatomy.depth < 0, glow, 0)


def _ghost_pattern(rng: np.random.Generator, grid: Grid) -> NDArray[Any]:
    """Returns the weight of the beating heart's ghosts, which lie in bands along the phase-encoding direction."""
    rows = np.linspace(0, 1, grid.shape[1], dtype=np.float32)
    return ramp(rows, rng.uniform(0.2, 0.5), 0.8)[None, :, None]


def _moved(signal: NDArray[Any], shift_mm: tuple[float, float, float], grid: Grid) -> NDArray[Any]:
    """Shifts a volume by a fraction of a voxel or more."""
    dz, dy, dx = (s / v for s, v in zip(shift_mm, grid.spacing, strict=True))
    if not (dz or dy or dx):
        return signal
    matrix = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    rows, columns = signal.shape[1:]
    moved = np.stack(
        [
            cv2.warpAffine(s, matrix, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for s in signal
        ]
    )
    whole, part = int(np.floor(dz)), dz - np.floor(dz)
    source = np.arange(len(moved)) - whole
    low, high = (np.clip(source + o, 0, len(moved) - 1) for o in (0, -1))
    return np.float32(1 - part) * moved[low] + np.float32(part) * moved[high]


def _digitise(rng: np.random.Generator, signal: NDArray[Any], scan: Scan) -> NDArray[Any]:
    """Adds noise as in a magnitude image and rounds to whole numbers."""
    real = signal + scan.noise * rng.standard_normal(signal.shape, dtype=np.float32)
    other = scan.noise * rng.standard_normal(signal.shape, dtype=np.float32)
    digits: NDArray[Any] = (
        np.clip(scan.scale * cv2.magnitude(real.reshape(-1, 1), other.reshape(-1, 1)), 0, 32000)
        .astype(np.int16)
        .reshape(signal.shape)
    )
    return digits
