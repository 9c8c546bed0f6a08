"""Duke-Breast-Cancer-MRI and MAMA-MIA: dynamic breast MRI with lesion masks, turned into slices to learn from.

In MAMA-MIA's layout (``images/DUKE_001/duke_001_0000.nii.gz`` and further phases, ``segmentations/expert``) the expert
masks say where lesions are. As The Cancer Imaging Archive gives it, a folder of DICOM series a patient beside
``Annotation_Boxes.xlsx``, there is one box a patient, and no mask.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from breastkit.atomic import make_folder
from breastkit.cases import Item
from breastkit.datasets.dce_case import DceCase, DceRecipe, check_case
from breastkit.datasets.dce_set import check_options, previous_patients, write_dce_set
from breastkit.datasets.registry import DataSet
from breastkit.datasets.splits import split_items
from breastkit.dce.phases import DEFAULT_CHANNELS
from breastkit.errors import BreastkitError
from breastkit.images import VOLUME_SUFFIXES, read_volume, stem
from breastkit.progress import parallel_map

DATA_SET = DataSet(
    summary="slices of dynamic breast MRI with lesion masks and boxes: Duke, MAMA-MIA",
    example="breastkit data prepare duke work/duke_like work/duke",
    place=2,
)

BOXES = "Annotation_Boxes.xlsx"
# Columns of the workbook; further ones hold leftovers of formulas. Numbers count from 1.
_BOUNDS = {
    "Start Row": "row_min",
    "End Row": "row_max",
    "Start Column": "col_min",
    "End Column": "col_max",
    "Start Slice": "slice_min",
    "End Slice": "slice_max",
}
_FRACTIONS = (0.7, 0.1, 0.2)
_FOLDS = 5
# Lesions of at most these millilitres together are a stratum of the split.
_VOLUMES_ML = (1.0, 5.0)
_PHASE = re.compile(r"_(\d{4})$")


def prepare_duke(
    root: str | Path,
    out: str | Path,
    *,
    cases: str | Path | None = None,
    channels: str = DEFAULT_CHANNELS,
    image_size: int = 224,
    negatives: float = 0.25,
    seed: int = 0,
    official_split: bool = False,
    register: bool = False,
    shading: bool = False,
    workers: int | None = None,
) -> Path:
    """Writes slices of dynamic breast MRI with masks, boxes, YOLO labels and the case list.

    Patients are dealt to training, validation and test (70, 10 and 20 %) by seed and lesion size. Every slice with a
    lesion is kept, of training and validation patients a share of the others, of test patients all. A patient that
    cannot be used is named in curation.csv. A folder prepared before keeps its split and what has not changed since.

    Args:
        root: the folder as downloaded: MAMA-MIA's, or that of the archive with Annotation_Boxes.xlsx.
        out: the folder to write.
        cases: text file with one patient a line; only these are used.
        channels: pre-post-subtraction, or one of subtraction, post and pre.
        image_size: side of the squares that slices become.
        negatives: share of slices without lesion that is kept to train on.
        seed: another seed gives another split.
        official_split: patients under test_split in train_test_splits.csv are the test.
        register: move phases after contrast onto the one before it; the moved phases are kept in OUT/corrected.
        shading: take out the shading of the coils (N4), likewise.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if the folder has another layout, no patient can be used, or ``out`` holds another set.
    """
    check_options(channels, image_size, negatives)
    root, out = Path(root), make_folder(out).absolute()
    settings = {
        "seed": seed,
        "official": bool(official_split),
        "image_size": image_size,
        "channels": channels,
        "negatives": negatives,
        **({"register": register, "shading": shading} if register or shading else {}),
    }
    previous = previous_patients(out, settings)
    boxes = root / BOXES
    everything, absent = _find_tcia(root, workers) if boxes.is_file() else (find_mamamia(root), {})
    found, curation = _listed(everything, cases)
    curation |= absent
    found, curation = _usable(found, curation, workers)
    official = _official_test(root) if official_split else None
    lists = _deal(found, _volumes(found, workers), seed, official, previous)

    recipe = DceRecipe(out, image_size, channels, seed, bool(register), bool(shading))
    return write_dce_set(lists, recipe, curation=curation, negatives=negatives, split=settings, workers=workers)


def find_mamamia(root: Path) -> list[DceCase]:
    """Finds patients with their phases and expert masks, in any spelling of case."""
    if not root.is_dir():
        raise BreastkitError(f"{root} is not a folder; name the folder of the data set.")
    images, masks = root / "images", root / "segmentations" / "expert"
    missing = [path.relative_to(root).as_posix() for path in (images, masks) if not path.is_dir()]
    if missing:
        raise BreastkitError(
            f"{root} has no {' and no '.join(missing)}, and no {BOXES}; name the folder that holds them."
        )
    of_name = {stem(path).lower(): path for path in _volumes_in(masks)}
    found = []
    for folder in sorted(path for path in images.iterdir() if path.is_dir() and not path.name.startswith(".")):
        numbered = {int(match[1]): path for path in _volumes_in(folder) if (match := _PHASE.search(stem(path)))}
        phases = tuple(numbered[number] for number in sorted(numbered)) if 0 in numbered else ()
        found.append(DceCase(folder.name, phases, of_name.get(folder.name.lower())))
    if not found:
        raise BreastkitError(f"{images} holds no folder of a patient; name the folder as downloaded.")
    return found


def _find_tcia(root: Path, workers: int | None) -> tuple[list[DceCase], dict[str, str]]:
    """Finds patients with a box and a folder of DICOM series, and says why others cannot be used."""
    boxes = read_annotation_boxes(root / BOXES)
    folders = {path.name: path for depth in ("*", "*/*") for path in root.glob(depth) if path.is_dir()}
    jobs = [(name, folders[name], box) for name, box in boxes.items() if name in folders]
    if not jobs:
        raise BreastkitError(
            f"{root} holds no folder of a patient of {BOXES} such as {next(iter(boxes))}; put the DICOM folders there."
        )
    reasons = {name: f"no folder of this name in {root.name}" for name in boxes if name not in folders}
    without = [path.name for path in folders.values() if re.fullmatch(r"Breast_MRI_\d+", path.name)]
    reasons |= dict.fromkeys((name for name in without if name not in boxes), f"no box in {BOXES}")
    found = parallel_map(_tcia_case, jobs, "Looking for phases", workers=workers, unit="patient")
    reasons |= {name: case for (name, *_), case in zip(jobs, found, strict=True) if isinstance(case, str)}
    cases = [case for case in found if isinstance(case, DceCase)]
    if not cases:
        raise BreastkitError(f"None of {len(jobs)} patients can be used: {found[0]}")
    return cases, reasons


def _tcia_case(job: tuple[str, Path, dict[str, int]]) -> DceCase | str:
    """Returns a patient, or the sentence that says why it cannot be used."""
    from breastkit.dce.series import find_phases

    name, folder, box = job
    try:
        study = find_phases(folder)
    except BreastkitError as error:
        return str(error)
    phases = tuple(one if isinstance(one, Path) else one.files[0].parent for one in study.all[:2])
    return DceCase(name, phases, boxes=(box,))


def read_annotation_boxes(path: str | Path) -> dict[str, dict[str, int]]:
    """Reads the lesion boxes of Duke's patients: bounds from 0, inclusive, slices in the order of InstanceNumber.

    Raises:
        BreastkitError: if the workbook cannot be read or lacks a column.
    """
    import pandas as pd

    path = Path(path)
    try:
        table = pd.read_excel(path)
    except Exception as error:  # openpyxl raises whatever a damaged archive makes it stumble over
        raise BreastkitError(f"{path} cannot be read as a workbook ({error}); fetch it again.") from error
    missing = [name for name in ("Patient ID", *_BOUNDS) if name not in table]
    if missing:
        raise BreastkitError(f"{path} lacks the column {missing[0]}; fetch it again.")
    table = table.dropna(subset=["Patient ID", *_BOUNDS])
    return {
        str(row["Patient ID"]).strip(): {name: int(row[column]) - 1 for column, name in _BOUNDS.items()}
        for row in table.to_dict("records")
    }


def _volumes_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.lower().endswith(VOLUME_SUFFIXES) and p.name[0] != ".")


def _listed(found: Sequence[DceCase], cases: str | Path | None) -> tuple[list[DceCase], dict[str, str]]:
    """Returns the patients that are to be used, and why the others are not."""
    if cases is None:
        return list(found), {}
    path = Path(cases)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; name a text file with one patient a line.")
    wanted = {line.strip().lower() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    chosen = [case for case in found if case.name.lower() in wanted]
    if not chosen:
        raise BreastkitError(f"{path} names no patient of the set; give one a line, such as {found[0].name}.")
    curation = {case.name: f"not listed in {path.name}" for case in found if case.name.lower() not in wanted}
    absent = wanted - {case.name.lower() for case in chosen}
    return chosen, curation | dict.fromkeys(absent, f"listed in {path.name}, but the set has no such patient")


def _usable(
    found: Sequence[DceCase], curation: Mapping[str, str], workers: int | None
) -> tuple[list[DceCase], dict[str, str]]:
    reasons = parallel_map(
        check_case, found, "Comparing headers", workers=1 if len(found) < 50 else workers, unit="patient"
    )
    usable = [case for case, reason in zip(found, reasons, strict=True) if not reason]
    if not usable:
        raise BreastkitError(f"None of {len(found)} patients can be used: {reasons[0]}")
    return usable, {**curation, **{c.name: reason for c, reason in zip(found, reasons, strict=True) if reason}}


def _volumes(found: Sequence[DceCase], workers: int | None) -> dict[str, float]:
    """Returns the millilitres of lesion of every patient; the split is stratified by them."""
    volumes = parallel_map(_lesion_ml, found, "Looking at lesions", workers=workers, unit="patient")
    return {case.name: volume for case, volume in zip(found, volumes, strict=True)}


def _lesion_ml(case: DceCase) -> float:
    if case.mask is None:
        sizes = [
            np.prod([box[f"{a}_max"] - box[f"{a}_min"] + 1 for a in ("col", "row", "slice")]) for box in case.boxes
        ]
        # A box in voxels of about a cubic millimetre, half filled: good enough to tell small from large.
        return float(sum(sizes)) / 2000
    try:
        mask = read_volume(case.mask, mask=True)
    except BreastkitError:
        # Preparing the patient says what is wrong.
        return 0.0
    return float(np.count_nonzero(mask.array) * abs(np.linalg.det(mask.affine[:3, :3])) / 1000)


def _deal(
    found: Sequence[DceCase],
    volumes: Mapping[str, float],
    seed: int,
    official: set[str] | None,
    previous: dict[str, list[Item]] | None,
) -> dict[str, list[tuple[DceCase, int | None]]]:
    """Deals patients to lists and folds; their slices follow them."""
    by_name = {case.name: case for case in found}
    patients = [{"image": name, "case": name, "stratum": _stratum(name, volumes[name])} for name in by_name]
    tests = [each for each in patients if official is not None and each["image"].lower() in official]
    rest = [each for each in patients if each not in tests]
    fractions = _FRACTIONS if official is None else (0.875, 0.125, 0.0)
    split = split_items(rest, seed=seed, fractions=fractions, folds=_FOLDS, stratify="stratum", previous=previous)
    lists = {
        name: [(by_name[each["image"]], each.get("fold")) for each in items] for name, items in split.lists.items()
    }
    lists["test"] += [(by_name[each["image"]], None) for each in tests]
    return lists


def _stratum(name: str, volume: float) -> str:
    centre = re.split(r"[\d_]", name)[0].lower()
    size = "none" if not volume else sum(volume > limit for limit in _VOLUMES_ML)
    return f"{centre} {size}"


def _official_test(root: Path) -> set[str]:
    path = root / "train_test_splits.csv"
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; without it leave out --official-split.")
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = {str(row.get("test_split") or "").strip().lower() for row in csv.DictReader(file)} - {""}
    if not names:
        raise BreastkitError(f"{path} names no patient in a column test_split; without it leave out --official-split.")
    return names
