"""One scan of a breast tissue set, with its mask, prepared: one frame, aligned, written with pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import write_json
from breastkit.cases import Item
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti, write_png

# Part of every record: raise it when preparation writes something else under the same options.
_FORMAT = 1


@dataclass(frozen=True)
class Scan:
    """A scan as delivered.

    Attributes:
        part: ``train`` or ``inference``.
        name: its file stem, unique within the part.
        patient: whose it is.
        path: the file.
        mask: its mask, if there is one.
        glands: the mask of its fibroglandular tissue, if there is one.
    """

    part: str
    name: str
    patient: str
    path: Path
    mask: Path | None = None
    glands: Path | None = None


@dataclass(frozen=True)
class Recipe:
    """How scans are prepared.

    Attributes:
        out: the prepared folder.
        mode: see `breastkit.transforms.OrientBreastd`.
        preset: see there.
    """

    out: Path
    mode: str
    preset: str | Mapping[str, Any]

    def fingerprint(self, scan: Scan) -> dict[str, Any]:
        """Returns what a prepared case depends on; when it changes the case is prepared again."""
        files = [path for path in (scan.path, scan.mask, scan.glands) if path is not None]
        stats = [path.stat() for path in files]
        return {
            "format": _FORMAT,
            "files": [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in zip(files, stats, strict=True)],
            "mode": self.mode,
            "preset": json.loads(json.dumps(self.preset)),
        }


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A scan in the canonical frame, or why there is none.

    Attributes:
        part, name, patient: see `Scan`.
        image: the prepared scan.
        label: the prepared mask on the same grid.
        glands: the prepared mask of fibroglandular tissue.
        shape: columns, rows, slices.
        orientation: the decision about the scan.
        alignment: the decision about a training mask.
        problem: the sentence that says why it cannot be used.
    """

    part: str
    name: str
    patient: str
    image: str = ""
    label: str | None = None
    glands: str | None = None
    shape: tuple[int, int, int] = (0, 0, 0)
    orientation: dict[str, Any] = field(default_factory=dict)
    alignment: dict[str, Any] | None = None
    problem: str = ""

    def item(self, clinical: Mapping[str, str] | None) -> Item:
        """Returns the case list's item."""
        item: Item = {"image": self.image, "case": self.patient, "shape": list(self.shape)}
        optional: dict[str, Any] = {"label": self.label, "glands": self.glands, "alignment": self.alignment}
        optional["clinical"] = dict(clinical) if clinical else None
        item |= {key: value for key, value in optional.items() if value is not None}
        return item | {"orientation": self.orientation}


def prepare_case(scan: Scan, *, recipe: Recipe) -> PreparedCase:
    """Prepares a scan, unless it was prepared from the same files in the same way before.

    Returns:
        The case; one that cannot be used carries the sentence that says why.
    """
    record_path = recipe.out / "records" / scan.part / f"{scan.name}.json"
    try:
        fingerprint = recipe.fingerprint(scan)
        case = _recorded(record_path, fingerprint)
        if case is None:
            case = _prepared(scan, recipe)
            write_json(record_path, {"fingerprint": fingerprint, "case": asdict(case)})
    except BreastkitError as error:
        return PreparedCase(scan.part, scan.name, scan.patient, problem=str(error))
    files = {key: str(recipe.out / getattr(case, key)) for key in ("image", "label", "glands") if getattr(case, key)}
    return PreparedCase(**{**asdict(case), **files})


def _recorded(path: Path, fingerprint: Mapping[str, Any]) -> PreparedCase | None:
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    case = PreparedCase(**{**record["case"], "shape": tuple(record["case"]["shape"])})
    out = path.parents[2]
    there = all((out / file).is_file() for file in (case.image, case.label, case.glands) if file)
    return case if record["fingerprint"] == fingerprint and there else None


def _prepared(scan: Scan, recipe: Recipe) -> PreparedCase:
    """Does the work; paths in the result are relative to the prepared folder."""
    # Heavy, and only needed here: the processes that only look at headers start at once.
    from breastkit.datasets.tissue_pictures import alignment_picture, orientation_picture
    from breastkit.transforms import AlignMaskd, LoadVolumed, OrientBreastd

    masks: dict[str, Any] = {key: path for key, path in (("label", scan.mask), ("glands", scan.glands)) if path}
    keys = ("image", *masks)
    loaded = LoadVolumed(keys, mask_keys=tuple(masks))({key: masks.get(key, scan.path) for key in keys})
    if scan.mask and not loaded["label"].any():
        raise BreastkitError(f"{scan.mask} is empty, nothing is marked in it; draw the breast or remove the scan.")
    affine = true_affine(loaded["image"].affine.numpy(), loaded["image"].shape[1:])
    oriented = OrientBreastd(keys, mode=recipe.mode, preset=recipe.preset)(loaded)
    del loaded
    image, decision = oriented["image"], oriented["image"].meta["orientation_decision"]
    scan_array = image.as_tensor()[0].numpy()
    flipped = [axis for axis, name in ((1, "rows"), (2, "slices")) if decision.get(name, {}).get("flipped")]
    picture = orientation_picture(scan_array, spacing=np.linalg.norm(affine[:3, :3], axis=0), flipped=flipped)
    write_png(recipe.out / "pictures" / f"{scan.part}_{scan.name}_orientation.png", picture)

    files = {"image": f"{scan.part}/scans/{scan.name}.nii.gz"}
    alignment = None
    aligned = oriented
    if scan.mask and scan.part == "train":
        # Glands were drawn with the breasts, and lie as these do.
        aligned = AlignMaskd(follow_keys=[key for key in masks if key != "label"])(oriented)
        alignment = aligned["label"].meta["alignment_decision"]
        picture = alignment_picture(scan_array, oriented["label"].as_tensor()[0].numpy(), alignment)
        write_png(recipe.out / "pictures" / f"{scan.part}_{scan.name}_alignment.png", picture)
    for key in masks:
        files[key] = f"{scan.part}/{'masks' if key == 'label' else key}/{scan.name}.nii.gz"
        write_nifti(recipe.out / files[key], aligned[key].as_tensor()[0].numpy() > 0.5, affine)
    write_nifti(recipe.out / files["image"], _compact(scan_array), affine)
    return PreparedCase(
        scan.part,
        scan.name,
        scan.patient,
        **files,
        shape=tuple(scan_array.shape),
        orientation=decision,
        alignment=alignment,
    )


def true_affine(affine: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns the affine of a volume in the canonical frame, as its header places it.

    It holds after flips that undo a lie, too: the header then finally says the truth, and reading the written file
    brings it to the same frame without any rule.
    """
    import nibabel

    from breastkit.transforms.orient_breast import canonical_orientation

    turned: NDArray[Any] = affine @ nibabel.orientations.inv_ornt_aff(canonical_orientation(affine), tuple(shape))
    return turned


def _compact(array: NDArray[Any]) -> NDArray[Any]:
    """Returns whole numbers that fit as 16-bit integers, anything else as it is."""
    limits = np.iinfo(np.int16)
    if array.min() < limits.min or array.max() > limits.max:
        return array
    small = array.astype(np.int16)
    return small if (small == array).all() else array
