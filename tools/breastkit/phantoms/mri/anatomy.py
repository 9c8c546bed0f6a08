"""The body of a breast MRI phantom: chest, breasts and what is in them, as labels and fields on a grid.

The body is described by smooth functions in millimetres on a coarse grid, bent by a random warp, and only then brought
to the voxels. The origin lies on the front of the rib cage in the middle of the body at the height of the breasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from breastkit.phantoms.mri import glands as varied
from breastkit.phantoms.mri.fields import (
    Grid,
    blend_max,
    distance_to_one,
    interpolate,
    noise,
    ramp,
)

SIDES = (("right", -1.0), ("left", 1.0))


class Tissue(IntEnum):
    """What a voxel is made of."""

    AIR = 0
    FAT = 1
    SKIN = 2
    MUSCLE = 3
    BONE = 4
    MARROW = 5
    LUNG = 6
    HEART = 7
    BLOOD = 8
    LIVER = 9
    GUT = 10
    NODE = 11
    NIPPLE = 12
    MARKER = 13
    IMPLANT = 14
    SHELL = 15


@dataclass
class Breast:
    """Shape of one breast: where it sits, how far it reaches, how it leans (mm)."""

    side: str
    centre_x: float
    centre_z: float
    base_y: float
    length: float
    radius_x: float
    radius_up: float
    radius_down: float
    box: float
    point: float
    point_up: float
    lean_x: float
    sag: float
    neck: float


@dataclass
class Body:
    """The numbers drawn for one body (mm); everything else follows from them and the random stream."""

    breasts: list[Breast]
    half_width: float
    half_depth: float
    squareness: float
    tilt: float
    muscle: float
    muscle_edge: float
    fat_top: float
    fat_bottom: float
    fat_side: float
    fold: float
    skin: float
    diaphragm: float
    shoulders: float
    arms: bool
    density: float
    warp: float


@dataclass
class Anatomy:
    """A body on a grid.

    Args:
        tissue: `Tissue` of every voxel.
        depth: distance below the skin surface in mm, negative outside.
        breast: the whole breasts, from the skin to the front of the chest muscle.
        gland: fraction of fibroglandular tissue within the breasts, 0 to 1.
        chest_depth: distance in front of the chest muscle in mm.
        body: the numbers the body was made from.
        nipples: position (z, y, x) of each nipple in mm.
        brightness: of glands, where it is not 1 everywhere.
    """

    tissue: NDArray[Any]
    depth: NDArray[Any]
    breast: NDArray[Any]
    gland: NDArray[Any]
    chest_depth: NDArray[Any]
    body: Body
    nipples: list[tuple[float, float, float]] = field(default_factory=list)
    brightness: NDArray[Any] | float = 1.0


def draw_body(rng: np.random.Generator, *, density: float) -> Body:
    """Draws a body: build, breasts (size, ptosis, asymmetry, compression by the coil), chest wall, fat and muscle."""
    stout = rng.uniform(0, 1)
    # Breasts hang freely into the coil: a good part of them are longer than wide.
    long = rng.uniform() < 0.35
    half_width = 146 + 42 * stout + rng.normal(0, 6)
    half_depth = 96 + 32 * stout + rng.normal(0, 6)
    fat_top = 5 + 16 * stout * rng.uniform(0.3, 1)
    common: dict[str, Any] = {
        "length": float(np.clip(rng.normal(122, 18) if long else rng.normal(60 + 45 * stout, 22), 35, 155)),
        "radius_x": 54 + 18 * stout + rng.normal(0, 5),
        "radius_up": 64 + 24 * stout + rng.normal(0, 8),
        "radius_down": 50 + 20 * stout + rng.normal(0, 6),
        "box": rng.uniform(2.0, 3.4),
        "point": rng.uniform(1.6, 4.5),
        "point_up": rng.uniform(1.0, 2.2),
        "sag": rng.uniform(-8, 14),
        "neck": rng.choice([0.0, rng.uniform(0.0, 0.12)], p=[0.6, 0.4]),
    }
    gap = rng.uniform(2, 30)
    # Most women's breasts differ a little, a few of them much.
    spread = 0.22 if rng.uniform() < 0.12 else 0.05
    breasts = []
    for side, sign in SIDES:
        own = {k: v * (1 + rng.normal(0, spread)) if k != "sag" else v + rng.normal(0, 4) for k, v in common.items()}
        own["length"] = float(np.clip(own["length"], 28, 155))
        own["box"], own["point"] = max(own["box"], 1.8), max(own["point"], 1.4)
        centre_x = gap + own["radius_x"] * rng.uniform(0.95, 1.05)
        breasts.append(
            Breast(
                side=side,
                centre_x=sign * centre_x,
                centre_z=rng.normal(0, 5),
                base_y=0.0,
                lean_x=sign * rng.uniform(-12, 18),
                **own,
            )
        )
    reach = max(b.radius_down for b in breasts)
    return Body(
        breasts=breasts,
        half_width=half_width,
        half_depth=half_depth,
        squareness=rng.uniform(2.1, 3.0),
        tilt=rng.uniform(0.0, 0.18),
        muscle=rng.uniform(5, 17),
        muscle_edge=rng.uniform(0.6, 0.78) * half_width,
        fat_top=fat_top,
        fat_bottom=fat_top + rng.uniform(0, 24) * (0.3 + stout),
        fat_side=rng.uniform(0, 30) * (0.3 + stout),
        fold=-reach * rng.uniform(0.75, 1.05),
        skin=rng.uniform(1.2, 2.6),
        diaphragm=rng.uniform(-70, 5),
        shoulders=rng.uniform(10, 60),
        arms=bool(rng.uniform() < 0.2),
        density=density,
        warp=rng.uniform(0.5, 5.0),
    )


def build_anatomy(rng: np.random.Generator, body: Body, grid: Grid, *, glands: str = "usual") -> Anatomy:
    """Builds the tissues of a body on a grid; `breastkit.phantoms.mri.glands` says how glands may be drawn."""
    coarse = grid.coarse(float(np.clip(min(grid.spacing[1:]) * 2, 2.8, 8)))
    shape = _Shape(rng, body, coarse)
    depth = interpolate(shape.surface, grid.shape)
    cage = interpolate(shape.cage, grid.shape)
    wall = cage - interpolate(shape.muscle, grid.shape)
    region = interpolate(shape.breast_region, grid.shape)

    tissue = np.full(grid.shape, Tissue.FAT, dtype=np.uint8)
    tissue[wall < 0] = Tissue.MUSCLE
    _line_muscle_with_fat(rng, tissue, cage, wall, grid)
    _fill_chest(rng, tissue, cage, body, grid, coarse)
    breast = (depth > 0) & (wall > 0.6) & (region > 0)
    breast &= interpolate(_soft(breast, grid, coarse), grid.shape) > 0.35
    breast = _two_largest(breast)
    widely = glands == "varied"
    gland = _gland_fraction(rng, body, grid, coarse, depth, wall, breast, scattered=widely)
    if widely:
        gland = np.maximum(gland, varied.septa(rng, grid, depth, breast))
    brightness = varied.brightness(rng, grid) if widely else 1.0

    nipples = [shape.nipple(b) for b in body.breasts]
    skin = body.skin * (1 + 0.15 * noise(rng, grid, 60.0))
    # A voxel thicker than the skin still shows it, since it fills a part of it.
    tissue[depth < np.maximum(skin, 0.6 * min(grid.spacing[1:]))] = Tissue.SKIN
    for nipple in nipples:
        _ball(tissue, grid, nipple, rng.uniform(3.5, 6.5), Tissue.NIPPLE, where=(Tissue.FAT, Tissue.SKIN))
    _vessels_and_nodes(rng, tissue, body, grid, nipples)
    tissue[depth < 0] = Tissue.AIR
    _markers(rng, tissue, depth, grid)
    gland[tissue != Tissue.FAT] = 0
    return Anatomy(tissue, depth, breast, gland, wall, body, nipples, brightness)


class _Shape:
    """Level functions of the body on the coarse grid, all in millimetres."""

    def __init__(self, rng: np.random.Generator, body: Body, grid: Grid) -> None:
        self.body, self.grid = body, grid
        z, y, x = grid.axes()
        bend = [body.warp * noise(rng, grid, rng.uniform(50, 110)) for _ in range(3)]
        self.z, self.y, self.x = z + bend[0], y + bend[1], x + bend[2]
        self.cage = -distance_to_one(self._cage_level(), grid)
        self.muscle = self._muscle_thickness(rng)
        fat = self._fat_thickness(rng)
        torso = self.muscle + fat + body.skin - self.cage
        for breast in body.breasts:
            breast.base_y = float(self._cage_front(breast.centre_x, breast.centre_z)) + 0.7 * body.muscle
        breasts = np.maximum.reduce([self._breast(b) for b in body.breasts])
        surface = blend_max(torso, breasts, rng.uniform(18, 48))
        self.breast_region = self._region(torso, surface)
        if body.arms:
            surface = np.maximum(surface, self._arms(rng))
        self.surface = ndimage.gaussian_filter(surface, 0.6)

    def _cage_size(self) -> tuple[NDArray[Any], NDArray[Any]]:
        narrow = 1 - 0.28 * ramp(self.z, 10, 150)
        return self.body.half_width * narrow, self.body.half_depth * (1 - 0.15 * ramp(self.z, 30, 150))

    def _cage_level(self) -> NDArray[Any]:
        width, depth = self._cage_size()
        n = self.body.squareness
        y = self.y + self.body.tilt * self.z + self.body.half_depth
        level: NDArray[Any] = ((np.abs(self.x) / width) ** n + (np.abs(y) / depth) ** n) ** (1 / n)
        return level

    def _cage_front(self, x: NDArray[Any] | float, z: NDArray[Any] | float) -> NDArray[Any]:
        body = self.body
        narrow = np.clip(1 - (np.abs(x) / (body.half_width * (1 - 0.28 * ramp(np.asarray(z), 10, 150)))), 0, 1)
        n = body.squareness
        front: NDArray[Any] = body.half_depth * ((1 - (1 - narrow) ** n) ** (1 / n) - 1) - body.tilt * np.asarray(z)
        return front

    def _muscle_thickness(self, rng: np.random.Generator) -> NDArray[Any]:
        body, x, z = self.body, np.abs(self.x), self.z
        edge = body.muscle_edge
        pectoral = body.muscle * ramp(x, 4, 40) * ramp(x, edge + 6, edge - 22)
        pectoral = pectoral * (0.12 + 0.88 * ramp(z, body.fold - 5, body.fold + 55)) * (1 + 0.5 * ramp(z, 40, 110))
        side = rng.uniform(2, 7) * ramp(x, edge - 25, edge) + rng.uniform(0, 14) * ramp(x, edge, edge + 60)
        belly = rng.uniform(3, 9) * ramp(z, body.fold + 5, body.fold - 25) * ramp(x, 3, 14)
        return np.maximum(np.maximum(pectoral, side), belly)

    def _fat_thickness(self, rng: np.random.Generator) -> NDArray[Any]:
        body, x, z = self.body, np.abs(self.x), self.z
        fat = body.fat_top + (body.fat_bottom - body.fat_top) * ramp(z, body.fold + 25, body.fold - 15)
        fat = fat * (
            1 - rng.uniform(0.2, 0.7) * np.exp(-np.square(self.x / 22)) * ramp(z, body.fold - 10, body.fold + 20)
        )
        side = ramp(x, 0.55 * body.half_width, body.half_width)
        fat = fat + body.fat_side * side + body.shoulders * side * ramp(z, 45, 130)
        thickness: NDArray[Any] = np.maximum(fat * (1 + 0.15 * noise(rng, self.grid, 70.0)), 1.5)
        return thickness

    def _local(self, breast: Breast, y: NDArray[Any] | np.float32) -> tuple[NDArray[Any], NDArray[Any]]:
        t = np.maximum(y - breast.base_y, 0) / breast.length
        return breast.centre_x + breast.lean_x * t * t, breast.centre_z - breast.sag * t

    def _breast(self, breast: Breast) -> NDArray[Any]:
        t = (self.y - breast.base_y) / breast.length
        cx, cz = self._local(breast, self.y)
        waist = 1 - breast.neck * np.exp(-np.square((self.y - breast.base_y - 14) / 11))
        dx = np.abs(self.x - cx) / (breast.radius_x * waist)
        dz = self.z - cz
        up = ramp(dz, -10, 10)
        dz = np.abs(dz) / ((breast.radius_up * up + breast.radius_down * (1 - up)) * waist)
        front = np.abs(t)
        # Above the nipple the breast slopes, below it is round: two exponents, mixed over the nipple's height.
        length = up * front**breast.point_up + (1 - up) * front**breast.point
        round_up = 2 - 0.3 * up
        level = (dx**breast.box + dz ** (breast.box * round_up / 2) + length) ** (1 / 2.2)
        level += 2 * np.maximum(-t, 0)
        shape = distance_to_one(level, self.grid)
        z, y, x = self.nipple(breast, bent=True)
        tip = np.sqrt((self.z - z) ** 2 + (self.y - y) ** 2 + (self.x - x) ** 2)
        return blend_max(shape, 5.0 - tip, 3.0)

    def nipple(self, breast: Breast, *, bent: bool = False) -> tuple[float, float, float]:
        """Returns where the tip of a breast is, in the body's or (not `bent`) the scan's coordinates."""
        tip = np.float32(breast.base_y + breast.length)
        x, z = self._local(breast, tip)
        position = (float(z), float(tip), float(x))
        if bent:
            return position
        away = (self.z - position[0]) ** 2 + (self.y - position[1]) ** 2 + (self.x - position[2]) ** 2
        found = np.unravel_index(np.argmin(away), away.shape)
        at_z, at_y, at_x = (
            float(first + step * i) for first, step, i in zip(self.grid.first, self.grid.steps(), found, strict=True)
        )
        return at_z, at_y, at_x

    def _arms(self, rng: np.random.Generator) -> NDArray[Any]:
        radius = rng.uniform(32, 46)
        away = self.body.half_width + self.body.fat_side + self.body.muscle + radius + rng.uniform(4, 18)
        y = -self.body.half_depth + rng.uniform(-10, 50)
        arms: NDArray[Any] = radius - np.sqrt((np.abs(self.x) - away) ** 2 + (self.y - y) ** 2)
        return arms

    def _region(self, torso: NDArray[Any], surface: NDArray[Any]) -> NDArray[Any]:
        """Returns where a reader outlines breast: positive in front of the torso's bulges, behind them to the wall.

        A column (x, z) belongs to the breast where the breast adds an eighth of its length to the torso. At the side of
        the chest muscle the outline leaves the muscle and runs outwards to the skin, which leaves out the armpit and
        the chest's flank.
        """
        dy = self.grid.spacing[1]
        threshold = max(8.0, 0.12 * max(b.length for b in self.body.breasts))
        added = (np.clip(surface / dy + 0.5, 0, 1) - np.clip(torso / dy + 0.5, 0, 1)).sum(axis=1) * dy
        bulge = ndimage.gaussian_filter(added, 1.6)[:, None, :] - threshold
        edge = self.body.muscle_edge
        slope = 0.32 - 0.2 * ramp(self.z, 0, 60)
        line = self._cage_front(edge - 8, self.z) + 6 - slope * (np.abs(self.x) - edge)
        flank = np.maximum(self.y - line, edge - np.abs(self.x))
        front = self.y + 0.8 * self.body.half_depth
        bounds = np.broadcast_arrays(bulge, flank, front, self._footprint())
        region: NDArray[Any] = np.clip(np.minimum.reduce(bounds), -20, 20).astype(np.float32)
        return region

    def _footprint(self) -> NDArray[Any]:
        """Returns, in mm, how far within one and a half times a breast's own width and height a column lies."""
        inside = []
        for b in self.body.breasts:
            tall = np.where(self.z > b.centre_z, b.radius_up, b.radius_down)
            away = np.hypot((self.x - b.centre_x) / b.radius_x, (self.z - b.centre_z) / tall)
            inside.append((1.5 - away) * b.radius_x)
        within: NDArray[Any] = np.maximum(*inside)
        return within


def _soft(mask: NDArray[Any], grid: Grid, coarse: Grid) -> NDArray[Any]:
    """Returns a mask averaged onto the coarse grid."""
    factors = [c / n for c, n in zip(coarse.shape, grid.shape, strict=True)]
    size = [max(1, round(1 / f)) for f in factors]
    smooth = ndimage.uniform_filter(mask.astype(np.float32), size)
    picks = [np.linspace(0, n - 1, c).round().astype(int) for n, c in zip(grid.shape, coarse.shape, strict=True)]
    averaged: NDArray[Any] = smooth[np.ix_(*picks)]
    return averaged


def _two_largest(mask: NDArray[Any]) -> NDArray[Any]:
    """Keeps the two largest parts, so that no crumb in the armpit counts as breast."""
    import cc3d

    parts = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = [k for k in np.argsort(sizes)[-2:] if sizes[k] > 0.05 * sizes.max()]
    return np.isin(parts, keep)


def _line_muscle_with_fat(
    rng: np.random.Generator, tissue: NDArray[Any], cage: NDArray[Any], wall: NDArray[Any], grid: Grid
) -> None:
    """Puts thin layers of fat between muscles, which show as lines in front of the ribs."""
    if rng.uniform() < 0.7:
        between = (wall < -rng.uniform(3, 7)) & (wall > -rng.uniform(8, 9.5)) & (cage > 0)
        tissue[between & (noise(rng, grid, 40.0) > 0.2)] = Tissue.FAT
    tissue[(cage > -0.5) & (cage < 0.8 * min(grid.spacing[1:])) & (wall < 0)] = Tissue.FAT


def _fill_chest(
    rng: np.random.Generator, tissue: NDArray[Any], cage: NDArray[Any], body: Body, grid: Grid, coarse: Grid
) -> None:
    """Fills the inside of the rib cage: ribs, sternum, lungs, heart and vessels, liver and other organs, spine."""
    z, y, x = grid.axes()
    period = rng.uniform(22, 32)
    wall = rng.uniform(7, 12)
    ribs = np.sin(2 * np.pi * (z + 0.45 * np.abs(x) - 0.2 * y + rng.uniform(0, 30)) / period) > rng.uniform(-0.2, 0.4)
    shell = (cage <= 0) & (cage > -wall)
    tissue[shell] = np.where(ribs, Tissue.BONE, Tissue.MUSCLE)[shell]
    tissue[(cage < -2.0) & (cage > -wall + 2) & ribs] = Tissue.MARROW
    sternum = shell & (np.abs(x) < rng.uniform(12, 19)) & (y > -40)
    tissue[sternum] = Tissue.BONE
    tissue[sternum & (cage < -2) & (cage > -wall + 2)] = Tissue.MARROW
    inside = cage <= -wall
    tissue[inside] = Tissue.LUNG
    tissue[inside & (cage > -wall - rng.uniform(0, 4))] = Tissue.FAT

    cz, cy, cx = coarse.axes()
    bend = [rng.uniform(3, 9) * noise(rng, coarse, 45.0) for _ in range(3)]
    cz, cy, cx = cz + bend[0], cy + bend[1], cx + bend[2]
    centre = -body.half_depth
    deep = inside & (cage < -wall - 2)

    def put(level: NDArray[Any], kind: Tissue) -> None:
        tissue[deep & (interpolate(np.clip(level, -2, 4), grid.shape) < 1)] = kind

    def ellipsoid(at: tuple[float, float, float], radii: tuple[float, float, float]) -> NDArray[Any]:
        squares = [np.square((c - a) / r) for c, a, r in zip((cz, cy, cx), at, radii, strict=True)]
        total: NDArray[Any] = squares[0] + squares[1] + squares[2]
        return total

    dome = body.diaphragm + 30 - np.square((np.abs(cx) - 65) / 55) * 18 - np.square((cy - centre) / 75) * 22
    dome = dome + np.where(cx < 0, rng.uniform(0, 18), 0)
    belly = 1 + (cz - dome) / 20
    put(belly, Tissue.FAT)
    if rng.uniform() < 0.9:
        heart_z = body.diaphragm + rng.uniform(45, 65)
        heart = ellipsoid(
            (heart_z, centre + rng.uniform(22, 40), rng.uniform(12, 32)), (46, rng.uniform(30, 42), rng.uniform(42, 58))
        )
        put(heart / 1.25, Tissue.FAT)
        put(heart, Tissue.HEART)
        chambers = noise(rng, coarse, 26.0)
        put(np.where(chambers > -0.2, 1.25 * heart, 3), Tissue.BLOOD)
        put(ellipsoid((heart_z + 55, centre + 20, rng.uniform(-15, 0)), (45, 15, 17)), Tissue.BLOOD)
        put(ellipsoid((heart_z + 50, centre + 8, rng.uniform(12, 25)), (22, 13, 24)), Tissue.BLOOD)
    vessels = noise(rng, grid, 11.0) ** 2 + 0.5 * np.square(noise(rng, grid, 11.0))
    reach = interpolate(np.where(cz > dome, 1 - np.abs(np.abs(cx) - 40) / 60, 0), grid.shape)
    tissue[deep & (tissue == Tissue.LUNG) & (vessels < rng.uniform(0.01, 0.05) * reach)] = Tissue.BLOOD
    liver = np.maximum((cx - rng.uniform(5, 50)) / 8 + 1, (cz - dome + rng.uniform(3, 8)) / 8 + 1)
    organs = np.maximum((-cx + rng.uniform(10, 40)) / 8 + 1, (cz - dome + rng.uniform(5, 20)) / 8 + 1)
    put(np.maximum(organs, 1 - 2 * (noise(rng, coarse, 38.0) + 0.4)), Tissue.GUT)
    put(liver, Tissue.LIVER)
    spine = np.square((cy - 2 * centre + 4) / 24) + np.square(cx / 24)
    put(np.square((cy - 2 * centre - 26) / 12) + np.square((cx - rng.uniform(10, 26)) / 12), Tissue.BLOOD)
    put(spine, Tissue.MARROW)


def _gland_fraction(
    rng: np.random.Generator,
    body: Body,
    grid: Grid,
    coarse: Grid,
    depth: NDArray[Any],
    wall: NDArray[Any],
    breast: NDArray[Any],
    *,
    scattered: bool = False,
) -> NDArray[Any]:
    """Returns how much of each voxel is fibroglandular tissue: clumps and strands that gather behind the nipple."""
    z, y, x = coarse.axes()
    score = np.full(coarse.shape, -9.0, dtype=np.float32)
    reach = rng.uniform(0.35, 0.75)
    for b in body.breasts:
        tip = b.base_y + b.length
        t = (tip - y) / b.length
        wide = 0.12 + reach * np.clip(t, 0, 1.2)
        off = np.square((x - b.centre_x - b.lean_x * (1 - t) ** 2) / b.radius_x)
        off = off + np.square((z - b.centre_z + b.sag * (1 - t)) / b.radius_up)
        own = -off / np.square(wide) - np.square((t - rng.uniform(0.3, 0.55)) / rng.uniform(0.25, 0.45))
        score = np.maximum(score, np.maximum(own, -9.0))
    gathered = rng.uniform(0.1, 1.0) if scattered else rng.uniform(0.4, 1.0)
    score = gathered * score + rng.uniform(0.7, 1.5) * noise(rng, coarse, rng.uniform(18, 35))
    score = interpolate(score, grid.shape)
    if scattered:
        score += varied.scattered(rng, grid)
    strand = (rng.uniform(4, 8), rng.uniform(9, 22), rng.uniform(4, 8))
    score += rng.uniform(0.6, 1.3) * (0.9 - 1.6 * np.abs(noise(rng, grid, strand)))
    score += rng.uniform(0.0, 1.3) * (0.5 - 1.6 * np.abs(noise(rng, grid, (3.0, rng.uniform(8, 16), 3.0))))
    score += rng.uniform(0.2, 1.0) * noise(rng, grid, (3.5, 6.0, 3.5))
    score -= 2.5 * ramp(depth, 9, 2) + 2.0 * ramp(wall, 8, 1)
    inside = score[breast]
    if not inside.size:
        return np.zeros(grid.shape, dtype=np.float32)
    threshold = np.quantile(inside[:: max(1, inside.size // 100_000)], 1 - body.density)
    fraction = np.clip(0.5 + (score - threshold) / rng.uniform(0.3, 1.4), 0, 1)
    return np.where(breast, fraction, 0).astype(np.float32)


def _ball(
    tissue: NDArray[Any],
    grid: Grid,
    position: Sequence[float],
    radius: float,
    kind: Tissue,
    *,
    where: tuple[Tissue, ...],
) -> None:
    """Fills a ball with a tissue where it replaces one of the given ones."""
    radii = [max(radius, 0.5 * s) for s in grid.spacing]
    centre = grid.index(position)
    low = [max(0, int(np.floor(c - r / s))) for c, r, s in zip(centre, radii, grid.spacing, strict=True)]
    high = [int(np.ceil(c + r / s)) + 1 for c, r, s in zip(centre, radii, grid.spacing, strict=True)]
    patch = tissue[tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))]
    if not patch.size:
        return
    offsets = np.ogrid[tuple(slice(a, a + n) for a, n in zip(low, patch.shape, strict=True))]
    away = sum(np.square((o - c) * s / r) for o, c, s, r in zip(offsets, centre, grid.spacing, radii, strict=True))
    patch[(away <= 1) & np.isin(patch, where)] = kind


def _vessels_and_nodes(
    rng: np.random.Generator, tissue: NDArray[Any], body: Body, grid: Grid, nipples: Sequence[Sequence[float]]
) -> None:
    """Draws vessels as wandering tubes, and lymph nodes in the armpits and in the breast."""
    over = (Tissue.FAT,)
    for breast, nipple in zip(body.breasts, nipples, strict=True):
        sign = np.sign(breast.centre_x)
        for _ in range(rng.integers(3, 12)):
            start = np.array(
                [
                    rng.normal(breast.centre_z, breast.radius_up * 0.5),
                    breast.base_y + rng.uniform(0, 10),
                    breast.centre_x + sign * rng.uniform(-0.9, 0.9) * breast.radius_x,
                ]
            )
            _tube(rng, tissue, grid, start, np.array(nipple), rng.uniform(0.5, 1.7), over)
        # The internal mammary vessels run beside the sternum, behind its edge.
        start = np.array([grid.first[0], 2.0 + body.tilt * 40, sign * rng.uniform(22, 30)])
        end = start + np.array([grid.shape[0] * grid.spacing[0], -body.tilt * 80, 0])
        _tube(rng, tissue, grid, start, end, rng.uniform(1, 2), (Tissue.FAT, Tissue.MUSCLE), wander=1.5)
        for _ in range(rng.integers(0, 6)):
            at = (rng.uniform(30, 110), rng.uniform(-70, -5), sign * (body.half_width * rng.uniform(0.75, 1.0)))
            _node(rng, tissue, grid, at, rng.uniform(2.5, 7), over)
        if rng.uniform() < 0.25:
            at = (
                breast.centre_z + rng.uniform(-20, 40),
                breast.base_y + rng.uniform(0.15, 0.6) * breast.length,
                breast.centre_x + sign * rng.uniform(0.2, 0.7) * breast.radius_x,
            )
            _node(rng, tissue, grid, at, rng.uniform(2, 4), over)


def _markers(rng: np.random.Generator, tissue: NDArray[Any], depth: NDArray[Any], grid: Grid) -> None:
    """Sticks small bright capsules to the skin of some bodies, as are put on moles, scars and nipples."""
    if rng.uniform() > 0.35:
        return
    _, y, _ = grid.axes()
    touching = np.flatnonzero((depth < -1.5) & (depth > -3.5) & (y > 5))
    for place in rng.choice(touching, size=min(len(touching), int(rng.integers(1, 5))), replace=False):
        at = np.unravel_index(place, depth.shape)
        position = tuple(f + s * i for f, s, i in zip(grid.first, grid.steps(), at, strict=True))
        _ball(tissue, grid, position, rng.uniform(1.5, 4.5), Tissue.MARKER, where=(Tissue.AIR,))


def _node(
    rng: np.random.Generator,
    tissue: NDArray[Any],
    grid: Grid,
    at: Sequence[float],
    radius: float,
    over: tuple[Tissue, ...],
) -> None:
    _ball(tissue, grid, at, radius, Tissue.NODE, where=over)
    hilum = tuple(a + d for a, d in zip(at, rng.normal(0, radius / 4, 3), strict=True))
    if radius > 2 * min(grid.spacing):
        _ball(tissue, grid, hilum, radius * 0.45, Tissue.FAT, where=(Tissue.NODE,))


def _tube(
    rng: np.random.Generator,
    tissue: NDArray[Any],
    grid: Grid,
    start: NDArray[Any],
    end: NDArray[Any],
    radius: float,
    over: tuple[Tissue, ...],
    *,
    wander: float = 7.0,
) -> None:
    """Draws a tube that wanders from start to end and thins out."""
    length = float(np.linalg.norm(end - start))
    count = max(4, int(length / max(0.8, 0.7 * min(grid.spacing))))
    t = np.linspace(0, 1, count)
    knots = rng.normal(0, wander, (max(3, int(length / 16)), 3))
    knots[[0, -1]] = 0
    places = np.linspace(0, 1, len(knots))
    path = start + (end - start) * t[:, None] + np.stack([np.interp(t, places, knots[:, a]) for a in range(3)], axis=1)
    stop = int(count * rng.uniform(0.5, 1.0))
    for position, at in zip(path[:stop], t, strict=False):
        _ball(tissue, grid, tuple(position), radius * (1 - 0.6 * at), Tissue.BLOOD, where=over)
