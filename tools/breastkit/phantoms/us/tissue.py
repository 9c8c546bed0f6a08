"""The breast an ultrasound phantom looks into: skin, fat, glandular tissue, muscle, ribs, the surface of the lung."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.phantoms.us.fields import blend, clouds, curve, fibres, step
from breastkit.phantoms.us.probe import Probe


@dataclass
class Tissue:
    """What sound meets, on the grid of the picture.

    Attributes:
        echo: how strongly each place scatters back, in dB.
        attenuation: what each place takes from the beam beyond the average, in dB per mm.
        mask: the lesions, 0 or 1.
        breast: where lesions grow: between the skin and the muscle.
        kinds: what was put in, for the record.
    """

    echo: NDArray[Any]
    attenuation: NDArray[Any]
    mask: NDArray[Any]
    breast: NDArray[Any]
    kinds: dict[str, Any] = field(default_factory=dict)


def make_tissue(rng: np.random.Generator, probe: Probe) -> Tissue:
    """Draws a breast without lesions."""
    mm = 1 / probe.spacing
    shape = probe.depth.shape
    # One displacement for all layers and fibres, so that they bend together.
    bend = clouds(rng, shape, (25 * mm, 14 * mm)) * rng.uniform(0.1, 1.0)
    frayed = clouds(rng, shape, (1.5 * mm, 4 * mm)) * rng.uniform(0.1, 0.7)
    # The skin lies against the probe and the muscle is stiff; what is between them gives way.
    pliant = np.clip(probe.depth / 6, 0, 1) * (1 - 0.7 * probe.depth / probe.depth.max())
    depth = probe.depth + (bend + frayed) * pliant
    contrast = rng.uniform(0.75, 1.3)

    ends = _layer_ends(rng, probe, mm)
    fat = _fat(rng, shape, mm)
    gland = _gland(rng, shape, mm)
    muscle = _muscle(rng, shape, mm)
    if rng.random() < 0.1:
        # Once in a while the brightness of the layers is anything at all: what is learned must not lean on it.
        fat, gland, muscle = (layer + rng.uniform(-9, 9) for layer in (fat, gland, muscle))

    echo = fat
    for below, end in ((gland, "fat"), (fat - 2, "gland"), (muscle, "retromammary")):
        echo = blend(echo, below, step(depth - ends[end], rng.uniform(0.3, 2)))
    echo = echo * contrast + rng.uniform(0.5, 4) * clouds(rng, shape, (7 * mm, 10 * mm))
    echo += rng.uniform(0.5, 3) * clouds(rng, shape, (1.2 * mm, 3.5 * mm))
    attenuation = np.zeros(shape, np.float32)
    echo += _fascia(rng, shape, mm, depth - ends["retromammary"])
    _add_chest_wall(rng, probe, echo, attenuation, depth - ends["muscle"])
    echo = _with_folds(rng, echo, mm)
    echo = _add_skin(rng, echo, probe.depth, ends["skin"])
    _add_shadows_from_above(rng, probe, attenuation)
    _add_lookalikes(rng, probe, echo, depth, ends)
    kinds = {"layers_mm": {name: round(float(np.mean(end)), 1) for name, end in ends.items()}}
    breast = (probe.depth > ends["skin"]) & (depth < ends["retromammary"]) & probe.inside
    return Tissue(echo.astype(np.float32), attenuation, np.zeros(shape, np.uint8), breast, kinds)


def _layer_ends(rng: np.random.Generator, probe: Probe, mm: float) -> dict[str, NDArray[Any]]:
    """Depth in mm at which each layer ends, per column; deeper ones may lie below the picture."""
    columns = probe.columns
    height = probe.rows * probe.spacing
    tilt = np.linspace(-1, 1, columns, dtype=np.float32)
    skin = rng.uniform(0.7, 2.4) + 0.1 * curve(rng, columns, 10 * mm)
    thickness = rng.uniform(0.5, 3) if rng.random() < 0.35 else rng.uniform(2, 0.35 * height)
    wave = rng.uniform(0.2, 1.6) * curve(rng, columns, rng.uniform(6, 16) * mm)
    fat = skin + np.maximum(thickness + wave + tilt * rng.normal(0, 0.12) * thickness * 2, 0.3)
    # Two of three pictures end within the gland or at its lower edge.
    gland_thickness = rng.uniform(0.25, 0.6) * height if rng.random() < 0.4 else rng.uniform(0.7, 1.3) * height
    # Each deeper layer is flatter than the one before it: the muscle does not follow the lobules of fat.
    gland = fat.mean() + gland_thickness + 0.5 * curve(rng, columns, 18 * mm) + tilt * rng.normal(0, 2)
    gland = np.maximum(gland, fat + 0.5)
    retromammary = gland + np.maximum(rng.uniform(0.2, 4) + 0.4 * curve(rng, columns, 14 * mm), 0.2)
    muscle = retromammary + np.maximum(rng.uniform(3, 11) + 0.3 * curve(rng, columns, 25 * mm), 1)
    return {"skin": skin, "fat": fat, "gland": gland, "retromammary": retromammary, "muscle": muscle}


def _fat(rng: np.random.Generator, shape: tuple[int, ...], mm: float) -> NDArray[Any]:
    """Dark lobules between bright septa."""
    mesh = (rng.uniform(1.5, 3.5) * mm, rng.uniform(6, 16) * mm)
    septa = fibres(rng, shape, mesh, rng.uniform(0.15, 0.3) * mm)
    septa = np.maximum(septa, fibres(rng, shape, (mesh[0] / 2, mesh[1] / 1.5), 0.14 * mm) * rng.uniform(0, 0.8))
    return rng.uniform(-15, -7) + 1.5 * clouds(rng, shape, (2 * mm, 5 * mm)) + rng.uniform(10, 26) * septa


def _gland(rng: np.random.Generator, shape: tuple[int, ...], mm: float) -> NDArray[Any]:
    """Bright tissue with streaks, dark ducts and lobules, from even to a cobblestone."""
    echo = rng.uniform(1, 3.5) * clouds(rng, shape, (5 * mm, 10 * mm))
    echo += rng.uniform(0.5, 3) * clouds(rng, shape, (0.7 * mm, 3 * mm))
    streaks = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(2, 5))):
        mesh = (rng.uniform(0.5, 2.2) * mm, rng.uniform(4, 12) * mm)
        patches = np.clip(0.5 + 0.6 * clouds(rng, shape, (5 * mm, 9 * mm)), 0, 1)
        streaks = np.maximum(streaks, fibres(rng, shape, mesh, rng.uniform(0.14, 0.3) * mm) * patches)
    echo += rng.uniform(10, 28) * streaks
    if rng.random() < 0.5:
        size = rng.uniform(0.9, 2.4)
        stones = clouds(rng, shape, (size * mm, size * rng.uniform(1.2, 2.5) * mm))
        presence = step(clouds(rng, shape, (7 * mm, 14 * mm)) + rng.uniform(-0.6, 0.8), 1.5)
        echo -= rng.uniform(3, 12) * step(stones - rng.uniform(0.2, 0.8), 0.6) * presence
    return echo


def _muscle(rng: np.random.Generator, shape: tuple[int, ...], mm: float) -> NDArray[Any]:
    """Dark, with long striations along it."""
    striae = fibres(rng, shape, (rng.uniform(0.7, 1.4) * mm, rng.uniform(10, 22) * mm), 0.12 * mm)
    return rng.uniform(-13, -5) + clouds(rng, shape, (2 * mm, 10 * mm)) + rng.uniform(5, 13) * striae


def _fascia(rng: np.random.Generator, shape: tuple[int, ...], mm: float, depth: NDArray[Any]) -> NDArray[Any]:
    """The bright sheet in front of the muscle, in one or two layers."""
    presence = np.clip(0.5 + 0.5 * clouds(rng, shape, (40 * mm, 8 * mm)), 0, 1)
    sheet = np.exp(-((depth / rng.uniform(0.2, 0.4)) ** 2))
    if rng.random() < 0.5:
        sheet += 0.7 * np.exp(-(((depth - rng.uniform(0.8, 1.6)) / 0.25) ** 2))
    bright: NDArray[Any] = rng.uniform(4, 14) * sheet * presence
    return bright


def _add_chest_wall(
    rng: np.random.Generator, probe: Probe, echo: NDArray[Any], attenuation: NDArray[Any], depth: NDArray[Any]
) -> None:
    """The surface of the lung with the haze and echoes below it, and ribs before it."""
    below = step(depth, 0.3)
    haze = -12 - 0.7 * np.clip(depth, 0, None) + 2 * clouds(rng, echo.shape, (4 / probe.spacing, 8 / probe.spacing))
    echo += (haze - echo) * below
    period, loss = rng.uniform(2.5, 6), rng.uniform(4, 9)
    for echo_number in range(3):
        line = np.exp(-(((depth - echo_number * period) / 0.35) ** 2))
        echo += line * max(rng.uniform(10, 22) - echo_number * loss, 0)
    attenuation += below * 0.5
    if rng.random() < 0.35:
        x = np.arange(probe.columns) * probe.spacing
        centre, half = rng.uniform(0, x[-1]), rng.uniform(4, 9)
        across = 1 - ((x - centre) / half) ** 2
        surface = -rng.uniform(2, 5) * np.sqrt(np.clip(across, 0, None))
        rib = (across > 0) * step(depth - surface, 0.3)
        echo += rib * (-16 - echo) + (across > 0) * 16 * np.exp(-(((depth - surface) / 0.4) ** 2))
        attenuation += rib * 2.5


def _with_folds(rng: np.random.Generator, echo: NDArray[Any], mm: float) -> NDArray[Any]:
    """Bends everything once more on a finer scale, so that fibres are wavy rather than straight."""
    y, x = np.mgrid[: echo.shape[0], : echo.shape[1]].astype(np.float32)
    strength = rng.uniform(0.1, 0.5) * mm
    shift_y = strength * clouds(rng, echo.shape, (4 * mm, 4 * mm))
    shift_x = strength * clouds(rng, echo.shape, (5 * mm, 5 * mm))
    return cv2.remap(echo, x + shift_x, y + shift_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _add_skin(rng: np.random.Generator, echo: NDArray[Any], depth: NDArray[Any], end: NDArray[Any]) -> NDArray[Any]:
    """Two bright lines with a grey band between, sometimes under a layer of gel."""
    gel = rng.uniform(0.5, 2) if rng.random() < 0.15 else 0.0
    top, bottom = depth - gel, depth - gel - end
    echo = blend(np.full_like(echo, rng.uniform(-4, 5)), echo, step(bottom, 0.3))
    echo += rng.uniform(4, 12) * (np.exp(-((top / 0.3) ** 2)) + rng.uniform(0.3, 1) * np.exp(-((bottom / 0.25) ** 2)))
    return blend(np.full_like(echo, -30), echo, step(top, 0.2)) if gel else echo


def _add_shadows_from_above(rng: np.random.Generator, probe: Probe, attenuation: NDArray[Any]) -> None:
    """Poor contact at the sides, and the soft shadows that ligaments and the nipple throw in any breast."""
    x = np.linspace(0, 1, probe.columns, dtype=np.float32)
    surface = np.exp(-((probe.depth / 3) ** 2))
    for side in (x, 1 - x):
        if rng.random() < 0.4:
            reach = rng.uniform(0.04, 0.22)
            attenuation += surface * rng.uniform(1, 5) * np.exp(-((side / reach) ** 2))
    for _ in range(int(rng.poisson(1.5))):
        centre, width = rng.random(), rng.uniform(0.008, 0.06)
        start = rng.uniform(1, 12)
        strength = rng.uniform(0.3, 1.5) * np.exp(-(((probe.depth - start) / 3) ** 2))
        attenuation += strength * np.exp(-(((x - centre) / width) ** 2))


def _add_lookalikes(
    rng: np.random.Generator, probe: Probe, echo: NDArray[Any], depth: NDArray[Any], ends: dict[str, NDArray[Any]]
) -> None:
    """Lobules of fat within the gland and wide ducts: dark spots that are no lesions, in every class."""
    y, x = np.mgrid[: probe.rows, : probe.columns].astype(np.float32) * probe.spacing
    gland = step(depth - ends["fat"], 0.8) * step(ends["gland"] - depth, 0.8)
    for _ in range(int(rng.poisson(1.8))):
        half_x = rng.uniform(1.0, 5.0)
        half_y = half_x * rng.uniform(0.25, 0.6)
        centre = rng.uniform(0, 1, 2) * (y[-1, 0], x[0, -1])
        tilt = rng.normal(0, 0.25)
        across = (x - centre[1]) * np.cos(tilt) + (y - centre[0]) * np.sin(tilt)
        down = (y - centre[0]) * np.cos(tilt) - (x - centre[1]) * np.sin(tilt)
        distance = np.hypot(across / half_x, down / half_y) + 0.12 * clouds(rng, echo.shape, (30, 30))
        echo -= rng.uniform(3, 9) * step(1 - distance, rng.uniform(0.25, 0.8)) * gland
    if rng.random() < 0.25:
        # A duct: a dark band along a slanting wavy line.
        path = rng.uniform(0.15, 0.7) * y[-1, 0] + rng.normal(0, 0.2) * x[0] + curve(rng, probe.columns, 60)
        along = step(0.5 + clouds(rng, (1, probe.columns), (1, 90))[0], 0.5)
        width = rng.uniform(0.3, 1.0)
        echo -= rng.uniform(6, 14) * np.exp(-(((y - path) / width) ** 4)) * along * gland
