"""One patient of a dynamic breast MRI set, prepared: colour slices, masks, YOLO labels and what undoes the squares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import make_folder, write_json
from breastkit.cases import Item
from breastkit.dce.correction import correct_phases
from breastkit.dce.phases import DcePhases, lesion_slices, mask_slices, read_phases, slice_boxes
from breastkit.dce.voxel_box import VoxelBox
from breastkit.errors import BreastkitError
from breastkit.images import read_header, read_volume, same_grid, write_nifti
from breastkit.seeding import generator
from breastkit.transforms.letterbox import Letterbox

# Part of every record: raise it when preparation writes something else under the same options.
_FORMAT = 2
_FOLDERS = ("images", "masks", "labels")


@dataclass(frozen=True)
class DceCase:
    """A patient as delivered.

    Attributes:
        name: of the patient; names all files.
        phases: files or series folders, the phase before contrast first.
        mask: the lesions on the phases' grid, where the set has masks.
        boxes: `breastkit.dce.BOUNDS` on the phases' grid, as the set tells them, where it has boxes alone.
    """

    name: str
    phases: tuple[Path, ...]
    mask: Path | None = None
    boxes: tuple[Mapping[str, int], ...] = ()


@dataclass(frozen=True)
class DceRecipe:
    """How patients are prepared.

    Attributes:
        out: the prepared folder.
        image_size: side of the squares.
        channels: see `breastkit.dce.phases.channel_volume`.
        seed: decides which slices without lesion are kept.
        register: whether phases after contrast are moved onto the one before it.
        shading: whether the shading of the coils is taken out.
    """

    out: Path
    image_size: int
    channels: str
    seed: int
    register: bool = False
    shading: bool = False

    @property
    def corrects(self) -> bool:
        """Whether phases are prepared otherwise than they were delivered."""
        return self.register or self.shading

    def fingerprint(self, case: DceCase, negatives: float) -> dict[str, Any]:
        """Returns what a prepared patient depends on; when it changes the patient is prepared again."""
        files = [*case.phases[:2], *([case.mask] if case.mask else [])]
        stats = [path.stat() for path in files]
        return {
            "format": _FORMAT,
            "files": [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in zip(files, stats, strict=True)],
            "boxes": [dict(box) for box in case.boxes],
            "image_size": self.image_size,
            "channels": self.channels,
            "seed": self.seed,
            "negatives": negatives,
            **({"register": self.register, "shading": self.shading} if self.corrects else {}),
        }


@dataclass(frozen=True)
class PreparedDce:
    """A prepared patient, or why there is none.

    Attributes:
        name: of the patient.
        slices: what each kept slice shows: ``slice``, ``boxes``, ``lesion_px``.
        scan: its grid and where its slices lie in their squares.
        problem: the sentence that says why it cannot be used.
    """

    name: str
    slices: list[dict[str, Any]] = field(default_factory=list)
    scan: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    def items(self, out: Path) -> list[Item]:
        """Returns the case list's items, one a slice."""
        items = []
        for entry in self.slices:
            stem = slice_stem(self.name, entry["slice"])
            item = {"image": str(out / "images" / self.name / f"{stem}.png"), "case": self.name, **entry}
            if self.scan["mask"]:
                item["label"] = str(out / "masks" / self.name / f"{stem}.png")
            items.append(item)
        return items


def slice_stem(name: str, number: int) -> str:
    """Returns what the files of a slice are called."""
    return f"{name}_{number:03d}"


def check_case(case: DceCase) -> str:
    """Returns why a patient cannot be used, as far as headers tell; an empty text where nothing is wrong."""
    try:
        if len(case.phases) < 2:
            raise BreastkitError(
                f"{case.phases[0].parent if case.phases else case.name} holds {len(case.phases)} phases; "
                "one before contrast and one after it are needed."
            )
        if case.mask is None and not case.boxes:
            raise BreastkitError(f"{case.name} has neither a lesion mask nor a box; add it or leave the patient out.")
        headers = {path: read_header(path) for path in (*case.phases[:2], case.mask) if path and path.is_file()}
        for path, other in list(headers.items())[1:]:
            first, header = next(iter(headers.items()))
            if not same_grid(header, other):
                raise BreastkitError(f"{path} does not lie on the grid of {first}; resample one onto the other.")
    except BreastkitError as error:
        return str(error)
    return ""


def prepare_dce_case(job: tuple[DceCase, float], *, recipe: DceRecipe) -> PreparedDce:
    """Prepares a patient, unless it was prepared from the same files in the same way before.

    Args:
        job: the patient, and which share of its slices without lesion is kept.
        recipe: how.

    Returns:
        The patient; one that cannot be used carries the sentence that says why.
    """
    case, negatives = job
    path = recipe.out / "records" / f"{case.name}.json"
    try:
        fingerprint = recipe.fingerprint(case, negatives)
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["fingerprint"] == fingerprint:
                return PreparedDce(case.name, record["slices"], record["scan"])
        slices, scan = _write_case(case, negatives, recipe)
        # Written last: a patient without record is prepared again, whatever an interrupted run left of it.
        write_json(path, {"fingerprint": fingerprint, "slices": slices, "scan": scan})
    except BreastkitError as error:
        return PreparedDce(case.name, problem=str(error))
    except FileNotFoundError as error:
        # Hours may lie between the listing of a set and its last patient.
        gone = f"{error.filename or case.name} is gone since the set was listed; put it back and prepare again."
        return PreparedDce(case.name, problem=gone)
    return PreparedDce(case.name, slices, scan)


def _write_case(case: DceCase, negatives: float, recipe: DceRecipe) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    phases = read_phases(case.phases[:2])
    used = case.phases
    if recipe.corrects:
        phases = correct_phases(phases, register=recipe.register, shading=recipe.shading)
        used = _write_phases(recipe.out / "corrected" / case.name, case.name, phases)
    squares, box = lesion_slices(phases, recipe.image_size, recipe.channels)
    masks = _masks(case, phases, box)
    boxes = [slice_boxes(mask) for mask in masks] if case.mask else _square_boxes(case.boxes, phases, box)
    kept = _kept(
        masks.any(axis=(1, 2)) if case.mask else [bool(each) for each in boxes], squares, negatives, case, recipe
    )
    for folder in _FOLDERS:
        make_folder(recipe.out / folder / case.name)
        for old in (recipe.out / folder / case.name).iterdir():
            old.unlink()
    slices = []
    for number in kept:
        stem = slice_stem(case.name, number)
        _write_png(recipe.out / "images" / case.name / f"{stem}.png", squares[number])
        if case.mask:
            _write_png(recipe.out / "masks" / case.name / f"{stem}.png", masks[number] * np.uint8(255))
        label = recipe.out / "labels" / case.name / f"{stem}.txt"
        label.write_text(_yolo_lines(boxes[number], recipe.image_size), encoding="utf-8")
        pixels = int(np.count_nonzero(masks[number])) if case.mask else _area(boxes[number])
        slices.append({"slice": number, "boxes": boxes[number], "lesion_px": pixels})
    scan = {
        "phases": [str(path.absolute()) for path in used],
        "mask": str(case.mask.absolute()) if case.mask else None,
        "boxes": [dict(each) for each in case.boxes],
        "shape": list(phases.shape),
        "affine": phases.affine.tolist(),
        "axial_shape": list(phases.arrays[0].shape),
        "spacing": list(phases.spacing),
        "letterbox": asdict(box),
    }
    return slices, scan


def _write_phases(folder: Path, name: str, phases: DcePhases) -> tuple[Path, ...]:
    """Writes phases, so that whoever measures on the study's own grid reads what was prepared."""
    make_folder(folder)
    return tuple(
        write_nifti(folder / f"{name}_{number:04d}.nii.gz", phases.restore(array), phases.affine)
        for number, array in enumerate(phases.arrays)
    )


def _masks(case: DceCase, phases: DcePhases, box: Letterbox) -> NDArray[Any]:
    if case.mask is None:
        return np.zeros((len(phases.arrays[0]), 1, 1), np.uint8)
    mask = read_volume(case.mask, mask=True)
    if mask.array.shape != phases.shape:
        raise BreastkitError(f"{case.mask} does not lie on the grid of {phases.paths[0]}; resample one onto the other.")
    return mask_slices(phases.axial(mask.array), box)


def _square_boxes(
    boxes: Sequence[Mapping[str, int]], phases: DcePhases, letterbox: Letterbox
) -> list[list[list[float]]]:
    """Returns the boxes of every slice in pixels of its square."""
    found: list[list[list[float]]] = [[] for _ in phases.arrays[0]]
    inverse = np.linalg.inv(letterbox.affine)
    for bounds in boxes:
        box = VoxelBox.of_bounds(bounds, phases.grid).on(phases.grid.axial)
        (first, top, left), (last, bottom, right) = box.low, box.high
        # Voxel centres are whole numbers, so that edges lie half a voxel outside.
        corners = np.array([[left - 0.5, top - 0.5, 0, 1], [right + 0.5, bottom + 0.5, 0, 1]])
        (y0, x0, *_), (y1, x1, *_) = (inverse @ corner for corner in corners)
        for number in range(max(first, 0), min(last + 1, len(found))):
            found[number].append([round(float(v) + 0.5, 2) for v in (x0, y0, x1, y1)])
    return found


def _kept(
    positive: Sequence[bool], squares: NDArray[Any], negatives: float, case: DceCase, recipe: DceRecipe
) -> list[int]:
    """Returns the slices to keep: those with lesion, and a share of the others drawn by the patient's name."""
    draw = generator(recipe.seed, "empty slices", case.name).uniform(size=len(squares))
    return [
        number for number, shows in enumerate(positive) if shows or (draw[number] < negatives and squares[number].any())
    ]


def _write_png(path: Path, image: NDArray[Any]) -> None:
    # Tens of thousands of files: each flushed to the disk by itself would take longer than making them, and the
    # patient's record, written last, already says which are whole.
    _, encoded = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    path.write_bytes(encoded.tobytes())


def _yolo_lines(boxes: Sequence[Sequence[float]], size: int) -> str:
    lines = []
    for x0, y0, x1, y1 in boxes:
        centre = ((x0 + x1) / 2 / size, (y0 + y1) / 2 / size, (x1 - x0) / size, (y1 - y0) / size)
        lines.append("0 " + " ".join(f"{value:.6f}" for value in centre) + "\n")
    return "".join(lines)


def _area(boxes: Sequence[Sequence[float]]) -> int:
    return round(sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes))
