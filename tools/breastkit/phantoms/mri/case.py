"""One breast MRI phantom: a body, its lesions and a scan of it, put together and turned into a scanner's axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import clinical
from breastkit.phantoms.mri.anatomy import Body, build_anatomy, draw_body
from breastkit.phantoms.mri.fields import Grid
from breastkit.phantoms.mri.glands import check_glands, varied_amount
from breastkit.phantoms.mri.implants import check_filling, place_implant
from breastkit.phantoms.mri.lesions import Lesion, check_shapes, draw_lesion, place_lesions
from breastkit.phantoms.mri.signal import acquire, draw_scan
from breastkit.seeding import generator


@dataclass(frozen=True)
class MriPhantom:
    """A breast MRI study with its truth; every array has the axes (i, j, k) that `affine` places in the world.

    Args:
        phases: the dynamic series as int16 volumes, the one before contrast first; the truth lies on the second.
        affine: voxel to world in mm, world axes to the right, front and head (RAS+) as in NIfTI.
        times_s: start of each phase after that of the first.
        breast: 1 in both breasts, from the skin to the front of the chest muscle.
        fibroglandular: 1 in fibroglandular tissue.
        lesions: 0, or the number of the lesion from 1.
        lesion_table: one entry per lesion: number, shape, curve, side, diameter_mm, volume_mm3, centre_world,
            centre_voxel, and what its signal does (uptake, late_change, rim).
        clinical: one row of the clinical table; see `breastkit.phantoms.mri.clinical`.
        settings: everything that was drawn: body, scan, orientation, axes the header lies about.
        implant: 1 in the implant, where there is one.
    """

    phases: list[NDArray[Any]]
    affine: NDArray[Any]
    times_s: list[float]
    breast: NDArray[Any]
    fibroglandular: NDArray[Any]
    lesions: NDArray[Any]
    lesion_table: list[dict[str, Any]]
    clinical: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    implant: NDArray[Any] | None = None


def make_mri_phantom(
    seed: int,
    case: int,
    *,
    shape: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
    phases: int | None = None,
    lie: bool = False,
    orientation: str | None = None,
    lesions: int | None = None,
    implant: str | None = None,
    shapes: Sequence[str] | None = None,
    glands: str = "usual",
) -> MriPhantom:
    """Makes a breast MRI phantom; the same arguments always give the same one.

    Args:
        seed: of the set.
        case: number within the set.
        shape: columns, rows and slices of the axial scan; about 256 x 256 x 96 by default.
        spacing: of columns, rows and slices in mm; by default what the drawn field of view gives.
        phases: number of dynamic phases, at least two; 3 to 6 by default.
        lie: whether to flip the arrays upside down, front to back, or both, without telling the header.
        orientation: where the axes i, j and k point, for example "LPS"; drawn by default, mostly axial.
        lesions: how many lesions; drawn by default, at times none.
        implant: "dark" or "bright" puts an implant into one breast; what else is drawn stays as it is.
        shapes: lesions of these shapes alone, each as often; by default as often as patients of a subtype have them.
        glands: "varied" draws their amount, pattern and brightness more widely.

    Raises:
        BreastkitError: if a size, the orientation, a shape or the glands make no sense.
    """
    _check(shape, spacing, phases, orientation, shapes)
    check_glands(glands)
    check_filling(implant)
    rng = generator(seed, "mri phantom", case)
    count = int(rng.choice(5, p=[0.12, 0.53, 0.2, 0.1, 0.05]))
    count = count if lesions is None else lesions
    subtype = clinical.draw_subtype(rng) if count else None
    age = clinical.draw_age(rng, subtype)
    density = clinical.draw_density(rng, age)
    if glands == "varied":
        density = varied_amount(generator(seed, "mri glands", case))
    body = draw_body(rng, density=density)
    drawn = [_draw_lesion(rng, subtype, shapes) for _ in range(count)] if subtype else []
    scan = draw_scan(rng, phases=int(rng.integers(3, 7)) if phases is None else phases)
    # From here on streams of their own, so that the size of the grid does not change what is drawn next.
    grid = _draw_grid(generator(seed, "mri grid", case), body, shape, spacing)
    axes, lied = _draw_axes(generator(seed, "mri axes", case), lie, orientation)
    anatomy = build_anatomy(generator(seed, "mri anatomy", case), body, grid, glands=glands)
    held = None
    if implant is not None:
        held = place_implant(generator(seed, "mri implant", case), implant, anatomy, scan, grid)
    labels, texture, placed = place_lesions(generator(seed, "mri lesions", case), drawn, anatomy, grid)
    volumes = acquire(generator(seed, "mri signal", case), scan, anatomy, grid, placed, labels, texture)
    turn = _Turn(grid, axes, lied)
    largest = max((lesion.diameter_mm for lesion in placed), default=0.0)
    return MriPhantom(
        phases=[turn.array(v) for v in volumes],
        affine=turn.affine,
        times_s=scan.times_s,
        breast=turn.array(anatomy.breast.astype(np.uint8)),
        fibroglandular=turn.array(((anatomy.gland > 0.5) & (labels == 0)).astype(np.uint8)),
        lesions=turn.array(labels),
        lesion_table=_lesion_table(placed, labels, grid, turn),
        clinical=clinical.clinical_record(
            generator(seed, "mri clinical", case),
            patient=str(case),
            subtype=subtype if placed else None,
            age=age,
            largest_mm=largest,
        ),
        settings={
            "orientation": axes,
            "lied_axes": lied,
            "shape": grid.shape[::-1],
            "spacing": grid.spacing[::-1],
            "subtype": subtype if placed else None,
            "age": age,
            "body": asdict(body),
            "scan": asdict(scan),
        },
        implant=None if held is None else turn.array(held.astype(np.uint8)),
    )


def _check(
    shape: tuple[int, int, int] | None,
    spacing: tuple[float, float, float] | None,
    phases: int | None,
    orientation: str | None,
    shapes: Sequence[str] | None,
) -> None:
    if shape is not None and (len(shape) != 3 or min(shape) < 4):
        raise BreastkitError(
            f"A phantom of shape {shape} cannot be made; give columns, rows and slices of at least 4 each."
        )
    if spacing is not None and (len(spacing) != 3 or min(spacing) <= 0):
        raise BreastkitError(f"A phantom of spacing {spacing} cannot be made; give three positive numbers in mm.")
    if phases is not None and phases < 2:
        raise BreastkitError(
            f"A phantom with {phases} phases cannot be made; give at least 2, one before and one after contrast."
        )
    if orientation is not None and sorted(_WORLD[c][0] if c in _WORLD else -1 for c in orientation.upper()) != [
        0,
        1,
        2,
    ]:
        raise BreastkitError(f"{orientation} is no orientation; give three letters such as LPS or RAS.")
    if shapes is not None:
        check_shapes(shapes)


def _draw_lesion(rng: np.random.Generator, subtype: str, shapes: Sequence[str] | None) -> Lesion:
    kind = clinical.SUBTYPES[subtype]
    return draw_lesion(
        rng,
        shapes=kind.shapes if shapes is None else dict.fromkeys(shapes, 1 / len(shapes)),
        curves=kind.curves,
        diameter_mm=float(np.clip(rng.lognormal(np.log(kind.diameter_mm), 0.4), 5, 55)),
        rim=max(0.0, kind.rim * rng.uniform(0.2, 1.4)),
    )


def _draw_grid(
    rng: np.random.Generator,
    body: Body,
    shape: tuple[int, int, int] | None,
    spacing: tuple[float, float, float] | None,
) -> Grid:
    """Draws the field of view: from the air in front into the chest, from below the breasts to the armpits."""
    if shape is None:
        side = int(rng.choice([224, 256, 288]))
        shape = (side, side, int(rng.integers(72, 113)))
    if spacing is None:
        width = rng.uniform(290, 400)
        height = sum(b.radius_up + b.radius_down for b in body.breasts) / 2 * rng.uniform(1.15, 1.85)
        spacing = (width / shape[0], width / shape[1], height / shape[2])
    sx, sy, sz = spacing
    columns, rows, slices = shape
    longest = max(b.length for b in body.breasts)
    # Breasts that reach farther than the field of view are cut by it at the chest, never at the nipple.
    front = 0.6 * body.muscle + longest + min(rng.uniform(8, 70), 0.25 * rows * sy)
    middle = sum(b.radius_up - b.radius_down for b in body.breasts) / 4 - 5 + rng.normal(0, 8)
    return Grid(
        (slices, rows, columns),
        (sz, sy, sx),
        (middle - sz * (slices - 1) / 2, front, rng.normal(0, 6) - sx * (columns - 1) / 2),
    )


# World axis (x to the right, y to the front, z to the head) and direction along it of each letter.
_WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def _draw_axes(rng: np.random.Generator, lie: bool, orientation: str | None) -> tuple[str, list[str]]:
    """Draws where the array axes point, and which of front-back and head-foot the header is wrong about."""
    kind = rng.choice(["scanner", "flipped", "any"], p=[0.5, 0.4, 0.1])
    pairs = ["RL", "AP", "SI"]
    letters = [str(rng.choice(list(pair))) for pair in pairs]
    order = list(rng.permutation(3)) if kind == "any" else [0, 1, 2]
    drawn = "LPS" if kind == "scanner" else "".join(letters[a] for a in order)
    lied = [["AP"], ["SI"], ["AP", "SI"]][int(rng.integers(3))]
    return (orientation.upper() if orientation else drawn), (lied if lie else [])


class _Turn:
    """Turns (z, y, x) volumes into the axes of a file and says where a position ends up."""

    def __init__(self, grid: Grid, axes: str, lied: list[str]) -> None:
        self.grid = grid
        # Along the working axes x, y and z the index runs to the left, the back and the head.
        own = {0: -1, 1: -1, 2: 1}
        self.order, self.flips, columns = [], [], []
        spacing, shape = grid.spacing[::-1], grid.shape[::-1]
        first = np.array([-grid.first[2], grid.first[1], grid.first[0]])
        origin = first.copy()
        for letter in axes:
            axis, sign = _WORLD[letter]
            flipped = sign != own[axis]
            column = np.zeros(3)
            column[axis] = sign * spacing[axis]
            columns.append(column)
            if flipped:
                origin[axis] += own[axis] * spacing[axis] * (shape[axis] - 1)
            self.order.append(axis)
            self.flips.append(flipped)
        self.affine = np.eye(4)
        self.affine[:3, :3] = np.stack(columns, axis=1)
        self.affine[:3, 3] = origin
        # A lie mirrors the voxels and leaves the affine as it is.
        for n, axis in enumerate(self.order):
            if ("RL", "AP", "SI")[axis] in lied:
                self.flips[n] = not self.flips[n]

    def array(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Returns a (z, y, x) volume in the file's axes."""
        turned = volume.transpose(2, 1, 0).transpose(self.order)
        return np.ascontiguousarray(turned[tuple(slice(None, None, -1 if f else 1) for f in self.flips)])

    def voxel(self, position: tuple[float, float, float]) -> list[float]:
        """Returns the voxel (i, j, k) of a position (z, y, x)."""
        index = self.grid.index(position)[::-1]
        shape = self.grid.shape[::-1]
        return [float(shape[a] - 1 - index[a] if f else index[a]) for a, f in zip(self.order, self.flips, strict=True)]


def _lesion_table(lesions: list[Lesion], labels: NDArray[Any], grid: Grid, turn: _Turn) -> list[dict[str, Any]]:
    sizes = np.bincount(labels.ravel(), minlength=len(lesions) + 1)
    rows = []
    for number, lesion in enumerate(lesions, start=1):
        row = {"number": number, **asdict(lesion)}
        del row["centre"]
        voxel = turn.voxel(lesion.centre)
        row["volume_mm3"] = float(sizes[number] * grid.voxel_mm3())
        row["centre_voxel"] = voxel
        row["centre_world"] = [float(v) for v in (turn.affine @ [*voxel, 1])[:3]]
        rows.append(row)
    return rows
