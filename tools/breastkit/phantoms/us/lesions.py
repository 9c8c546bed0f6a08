"""Lesions of an ultrasound phantom: their outline, what is in them, and what they do to the sound behind them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.phantoms.us.fields import blend, clouds, step
from breastkit.phantoms.us.probe import Probe
from breastkit.phantoms.us.tissue import Tissue

_BENIGN_KINDS = {"cyst": 0.27, "solid": 0.6, "complicated cyst": 0.09, "lipoma": 0.04}


def add_lesion(rng: np.random.Generator, probe: Probe, tissue: Tissue, label: str) -> bool:
    """Puts a lesion into tissue.

    Args:
        rng: the random stream.
        probe: gives the grid and what part of it is seen.
        tissue: what the lesion is put into; changed in place.
        label: "benign" (oval, smooth, wider than tall, often in a thin capsule) or "malignant" (irregular, angular or
            spiculated, often taller than wide, with a halo and a shadow).

    Returns:
        False when no free place was found and nothing was changed.
    """
    malignant = label == "malignant"
    outline = _malignant_outline(rng) if malignant else _benign_outline(rng)
    placed = _place(rng, probe, tissue, outline, malignant)
    if placed is None:
        return False
    mask, centre = placed
    distance = _signed_distance(mask) * probe.spacing
    kind = "carcinoma" if malignant else str(rng.choice(list(_BENIGN_KINDS), p=list(_BENIGN_KINDS.values())))
    if malignant:
        _add_halo(rng, probe, tissue, distance, centre)
        _fill_malignant(rng, probe, tissue, distance)
    else:
        _push_aside(rng, tissue, distance, centre, probe)
        _fill_benign(rng, probe, tissue, distance, kind)
    tissue.mask |= mask
    tissue.kinds.setdefault("lesions", []).append(
        {"kind": kind, "area_mm2": round(float(mask.sum() * probe.spacing**2), 1)}
    )
    return True


def _benign_outline(rng: np.random.Generator) -> NDArray[Any]:
    """An oval, sometimes with a few gentle lobes: points around 0, half-width about 1."""
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    radius = np.ones_like(angle)
    for order in (2, 3, 4):
        radius += rng.normal(0, 0.035) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.25:
        radius += rng.uniform(0.03, 0.1) * np.cos(rng.integers(3, 6) * angle + rng.uniform(0, 2 * np.pi))
    height = rng.uniform(0.8, 1.05) if rng.random() < 0.2 else rng.uniform(0.38, 0.8)
    return _turned(np.stack([radius * np.cos(angle), height * radius * np.sin(angle)], 1), rng.normal(0, 0.16))


def _malignant_outline(rng: np.random.Generator) -> NDArray[Any]:
    """An irregular shape: uneven, with corners, or with spikes."""
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    radius = np.ones_like(angle)
    unevenness = rng.uniform(0.1, 0.32)
    for order in range(2, 9):
        radius += rng.normal(0, unevenness) / order**0.8 * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    style = rng.choice(["uneven", "angular", "spiculated"], p=(0.4, 0.25, 0.35))
    if style == "angular":
        corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(6, 11)))
        radius = 0.4 * radius + 0.6 * np.interp(angle, corners, rng.uniform(0.5, 1.4, len(corners)), period=2 * np.pi)
    elif style == "spiculated":
        for _ in range(int(rng.integers(5, 16))):
            away = np.abs(np.angle(np.exp(1j * (angle - rng.uniform(0, 2 * np.pi)))))
            radius += rng.uniform(0.15, 0.6) * np.clip(1 - away / rng.uniform(0.08, 0.3), 0, None)
    radius = np.clip(radius, 0.35, None)
    height = rng.uniform(0.9, 1.4) if rng.random() < 0.35 else rng.uniform(0.45, 0.9)
    return _turned(np.stack([radius * np.cos(angle), height * radius * np.sin(angle)], 1), rng.normal(0, 0.3))


def _turned(points: NDArray[Any], angle: float) -> NDArray[Any]:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: NDArray[Any] = points @ turn
    return turned


def _place(
    rng: np.random.Generator, probe: Probe, tissue: Tissue, outline: NDArray[Any], malignant: bool
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Chooses size and place; a lesion may run out of the picture a little, as they do in practice."""
    rows, columns = tissue.mask.shape
    share = np.exp(rng.normal(np.log(0.125 if malignant else 0.045), 0.85 if malignant else 0.9))
    area = cv2.contourArea(outline.astype(np.float32))
    scale = np.sqrt(np.clip(share, 0.004, 0.35) * rows * columns / area)
    scale = min(scale, 0.42 * rows / np.abs(outline[:, 1]).max(), 0.48 * columns)
    blocked = cv2.dilate(tissue.mask, np.ones((9, 9), np.uint8)) > 0
    # Where skin and muscle lie close together there is no room for large ones: smaller and smaller is tried.
    for attempt in range(60):
        size = scale * 0.97**attempt
        centre = np.array([columns * rng.beta(2.2, 2.2), rows * (0.06 + 0.74 * rng.beta(1.6, 2.6))])
        if not tissue.breast[int(centre[1]), int(centre[0])]:
            continue
        mask = np.zeros_like(tissue.mask)
        cv2.fillPoly(mask, [np.round(outline * size + centre).astype(np.int32)], (1,))
        mask[(probe.depth < 1.2) | ~probe.inside] = 0
        within = (tissue.breast & (mask > 0)).sum()
        if within > 0.75 * area * size**2 and not (blocked & (mask > 0)).any():
            return mask, centre
    return None


def _signed_distance(mask: NDArray[Any]) -> NDArray[Any]:
    """Distance to the edge in pixels, positive inside. A border of the picture is no edge of the lesion."""
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return np.where(mask > 0, inside - 0.5, 0.5 - outside).astype(np.float32)


def _push_aside(
    rng: np.random.Generator, tissue: Tissue, distance: NDArray[Any], centre: NDArray[Any], probe: Probe
) -> None:
    """Fibres run around a growing mass instead of ending at it."""
    y, x = np.mgrid[: distance.shape[0], : distance.shape[1]].astype(np.float32)
    reach = rng.uniform(1.5, 4)
    pull = rng.uniform(0.2, 0.6) * np.exp(-np.clip(-distance, 0, None) / reach)
    tissue.echo = cv2.remap(
        tissue.echo,
        x + (centre[0].astype(np.float32) - x) * pull,
        y + (centre[1].astype(np.float32) - y) * pull,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _surroundings(tissue: Tissue, distance: NDArray[Any]) -> float:
    """Median echo of the tissue around a lesion."""
    return float(np.median(tissue.echo[(distance < 0) & (distance > -4)]))


def _fill_benign(rng: np.random.Generator, probe: Probe, tissue: Tissue, distance: NDArray[Any], kind: str) -> None:
    around = _surroundings(tissue, distance)
    mm = 1 / probe.spacing
    shape = distance.shape
    texture = clouds(rng, shape, (0.8 * mm, 1.6 * mm))
    inside = distance > 0
    thickness = 2 * distance.max()
    if kind == "cyst":
        echo = around - rng.uniform(22, 50) + 3 * texture
        # Echoes of the front wall fog the upper part.
        depth_in = np.cumsum(inside, axis=0) * probe.spacing
        echo = np.maximum(echo, around - 8 - depth_in / rng.uniform(0.15, 0.4))
        attenuation = -rng.uniform(4, 12) / max(thickness, 4)
    elif kind == "complicated cyst":
        echo = around - rng.uniform(8, 22) + 2 * texture
        attenuation = -rng.uniform(2, 8) / max(thickness, 4)
    elif kind == "lipoma":
        echo = around + rng.uniform(-1, 5) + 1.5 * texture
        attenuation = 0.0
    else:
        echo = around - rng.uniform(3, 14) + rng.uniform(0.3, 2.2) * texture
        if rng.random() < 0.3:
            echo = echo + rng.uniform(2, 6) * np.clip(clouds(rng, shape, (1.0 * mm, 4 * mm)), 0, None)
        attenuation = rng.uniform(-7, 2.5) / max(thickness, 4)
    soft = rng.uniform(0.15, 0.45)
    normal_y, normal_x = np.gradient(cv2.GaussianBlur(distance, (0, 0), 3))
    norm = np.hypot(normal_y, normal_x) + 1e-6
    flat = np.abs(normal_y / norm)
    tissue.echo = blend(tissue.echo, echo, step(distance, soft)).astype(np.float32)
    capsule = np.exp(-(((distance + rng.uniform(0.1, 0.4)) / rng.uniform(0.18, 0.35)) ** 2)) * flat ** rng.uniform(1, 4)
    tissue.echo += rng.uniform(0, 12) * capsule * np.clip(0.7 + 0.4 * clouds(rng, shape, (2 * mm, 3 * mm)), 0, 1)
    tissue.attenuation += attenuation * inside
    if rng.random() < 0.55:
        # Sound is bent away where it meets the wall edge-on: two narrow shadows from the flanks.
        rim = np.exp(-((distance / 0.5) ** 2)) * (1 - flat) ** 3
        tissue.attenuation += rng.uniform(0.3, 1.6) * rim


def _fill_malignant(rng: np.random.Generator, probe: Probe, tissue: Tissue, distance: NDArray[Any]) -> None:
    around = _surroundings(tissue, distance)
    mm = 1 / probe.spacing
    shape = distance.shape
    echo = around - rng.uniform(5, 17) + rng.uniform(1, 4) * clouds(rng, shape, (1.2 * mm, 2.2 * mm))
    echo += rng.uniform(0, 3) * clouds(rng, shape, (4 * mm, 5 * mm))
    ragged = rng.uniform(0.1, 0.6) * clouds(rng, shape, (1.2 * mm, 1.6 * mm))
    edge = step(distance + ragged, rng.uniform(0.5, 2.8))
    tissue.echo = blend(tissue.echo, echo, edge).astype(np.float32)
    if rng.random() < 0.4:
        _add_calcifications(rng, tissue, distance, mm)
    thickness = max(2 * float(distance.max()), 4)
    shadowing = rng.uniform(1, 12) if rng.random() < 0.65 else rng.uniform(-5, 2)
    tissue.attenuation += (distance > 0) * shadowing / thickness


def _add_calcifications(rng: np.random.Generator, tissue: Tissue, distance: NDArray[Any], mm: float) -> None:
    """A few to many bright grains within the lesion."""
    places = np.argwhere(distance > 0.3)
    if not len(places):
        return
    grains = np.zeros(distance.shape, np.float32)
    grains[tuple(rng.choice(places, int(rng.integers(2, 25))).T)] = 1
    size = rng.uniform(0.1, 0.2) * mm
    grains = cv2.GaussianBlur(grains, (0, 0), size) * (2 * np.pi * size**2)
    tissue.echo += rng.uniform(8, 20) * np.clip(grains, 0, 1)


def _add_halo(
    rng: np.random.Generator, probe: Probe, tissue: Tissue, distance: NDArray[Any], centre: NDArray[Any]
) -> None:
    """The bright, unsharp rim of reaction around a cancer, with strands that run from it into the tissue."""
    mm = 1 / probe.spacing
    if rng.random() < 0.7:
        width = rng.uniform(0.5, 3)
        rim = np.exp(-np.clip(-distance, 0, None) / width) * np.clip(
            0.6 + 0.5 * clouds(rng, distance.shape, (4 * mm, 4 * mm)), 0, 1
        )
        target = rng.uniform(2, 9)
        tissue.echo = blend(tissue.echo, np.maximum(tissue.echo, target), 0.9 * rim).astype(np.float32)
    if rng.random() < 0.6:
        y, x = np.mgrid[: distance.shape[0], : distance.shape[1]].astype(np.float32)
        angle = np.arctan2(y - centre[1], x - centre[0])
        wave = sum(
            rng.normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi) + 0.1 * distance)
            for order in rng.integers(6, 30, 7)
        )
        strands = np.clip(np.abs(wave) / 2.0 - 0.6, 0, 1) * np.exp(-np.clip(-distance, 0, None) / rng.uniform(1.5, 5))
        tissue.echo += rng.uniform(-10, 8) * strands
