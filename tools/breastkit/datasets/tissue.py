"""Breast MRI scans with masks of the whole breast: a folder as delivered, checked and turned into a case list.

Two layouts are known, both with ``.nii`` or ``.nii.gz`` files: ``train/scans``, ``train/masks``, ``inference/scans``
and ``clinical.csv``, or ``train_data/scans``, ``train_data/GT``, ``inference_data`` and
``Clinical_and_Other_Features.xlsx``. Masks of the inference scans (``inference/masks``, ``inference_data/GT``), where
there are any, make those the test list. Masks of fibroglandular tissue (``train/glands``, ``inference/glands``), named
as the scans are, go along where there are any.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.atomic import make_folder, write_text
from breastkit.cases import Item, write_cases
from breastkit.datasets.registry import DataSet
from breastkit.datasets.splits import FRACTIONS, lists_before, split_items
from breastkit.datasets.tissue_case import PreparedCase, Recipe, Scan, prepare_case
from breastkit.errors import BreastkitError
from breastkit.images import VOLUME_SUFFIXES, Header, read_header, stem
from breastkit.logs import get_logger
from breastkit.progress import parallel_map

DATA_SET = DataSet(
    summary="case list of breast MRI scans with breast masks, and of scans without",
    example="breastkit data prepare tissue work/phantom work/tissue",
    place=1,
)

SET_NAME = "breast tissue"
# With a test list of its own a set needs none from its training scans.
_FRACTIONS_WITH_TEST = (0.8, 0.2, 0.0)
# A spacing this much larger or smaller than the set's median is pointed out.
_SPACING_FACTOR = 1.25

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Layout:
    train_scans: str
    train_masks: str
    inference_scans: str
    inference_masks: str
    clinical: str
    train_glands: str = "train/glands"
    inference_glands: str = "inference/glands"


_LAYOUTS = (
    _Layout("train/scans", "train/masks", "inference/scans", "inference/masks", "clinical.csv"),
    _Layout(
        "train_data/scans",
        "train_data/GT",
        "inference_data",
        "inference_data/GT",
        "Clinical_and_Other_Features.xlsx",
    ),
)


@dataclass(frozen=True)
class TissueSet:
    """What is in a folder of breast tissue scans.

    Attributes:
        root: the folder.
        scans: its scans, those without a mask they need left out.
        clinical: the clinical table.
        problems: one sentence per file that cannot be used.
    """

    root: Path
    scans: list[Scan]
    clinical: Path
    problems: list[str] = field(default_factory=list)


def patient_id(name: str) -> str:
    """Returns the patient a file stem belongs to: its last run of digits without leading zeros, or all of it."""
    runs = re.findall(r"\d+", name)
    return (runs[-1].lstrip("0") or "0") if runs else name


def check_tissue(root: str | Path, *, workers: int | None = None) -> str:
    """Says what is in a folder of breast tissue scans and masks, and what is wrong with it.

    Args:
        root: the folder as delivered.
        workers: processes to work with; all available cores by default.

    Returns:
        Counts, and how alike orientation and spacing are.

    Raises:
        BreastkitError: if parts of the folder are missing or empty, all of them named, or a file cannot be used, every
            one that shows without reading the pixels; then the counts stand above what is wrong.
    """
    found = find_tissue(root)
    headers, unreadable = _read_headers(found.scans, workers)
    if not headers:
        raise BreastkitError("\n".join([f"{found.root} holds no scan that can be used.", *found.problems, *unreadable]))
    trained = sum(scan.part == "train" for scan in headers)
    counts = [
        f"{found.root}: {trained} training scans with masks, {len(headers) - trained} inference scans, "
        f"clinical table {found.clinical.name}",
        *_consistency_text(_consistency(headers)),
    ]
    if problems := [*found.problems, *unreadable]:
        raise BreastkitError("\n".join([*counts, *problems]))
    return "\n".join(counts)


def prepare_tissue(
    root: str | Path,
    out: str | Path,
    *,
    mode: str = "correct",
    preset: str | Mapping[str, Any] = "default",
    folds: int = 5,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Writes breast tissue scans and masks in one frame, with pictures, tables and the case list.

    Scans go to the canonical frame of `breastkit.transforms.OrientBreastd`, training masks onto their scans. A scan
    that cannot be used is named and left out. A folder prepared before keeps its split and what has not changed since.

    Args:
        root: the folder as delivered.
        out: the folder to write.
        mode: correct undoes flips that headers lie about, report only says so, off takes the headers' word.
        preset: the rules that find such flips: default, original, or rules of your own.
        folds: number of folds of the training list.
        seed: another seed gives another split.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if parts of the folder are missing or empty, no scan can be used, or ``out`` holds another set.
    """
    found = find_tissue(root)
    out = make_folder(out).absolute()
    split_facts = {"seed": seed, "folds": folds}
    previous = lists_before(out, SET_NAME, split_facts, options="another seed or number of folds")
    headers, problems = _read_headers(found.scans, workers)
    consistency = _consistency(headers)
    for line in _consistency_text(consistency):
        _log.info("%s", line)

    recipe = Recipe(out, mode, preset)
    done = parallel_map(
        partial(prepare_case, recipe=recipe), list(headers), "Preparing scans", workers=workers, unit="scan"
    )
    problems = [*found.problems, *problems, *(case.problem for case in done if case.problem)]
    usable = [case for case in done if not case.problem]
    if not usable:
        # A wrong option spoils every scan in the same words.
        raise BreastkitError("\n".join([f"{found.root} holds no scan that can be used.", *dict.fromkeys(problems)]))

    lists = _split(usable, _read_clinical(found.clinical, problems), previous, split_facts, problems)
    facts = {
        "name": SET_NAME,
        "split": split_facts,
        "orientation": {"mode": mode, "preset": preset},
        "consistency": consistency,
        "problems": problems,
    }
    cases = write_cases(out, lists, facts=facts)
    _write_tables(out, lists)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    counts = ", ".join(f"{len(items)} {name}" for name, items in lists.items())
    _log.info("%s: %s; %d problems", SET_NAME, counts, len(problems))
    return cases.path


def find_tissue(root: str | Path) -> TissueSet:
    """Finds scans, masks and the clinical table in either layout, and pairs them.

    Raises:
        BreastkitError: if parts are missing or empty; the sentence names all of them.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file, a folder is needed" if root.exists() else "does not exist"
        raise BreastkitError(f"{root} {what}; name the folder of scans and masks.")
    layout = max(_LAYOUTS, key=lambda each: sum((root / part).exists() for part in vars(each).values()))
    needed = (layout.train_scans, layout.train_masks, layout.inference_scans)
    # The variant keeps inference scans either directly in their folder or in one of the usual name.
    folders = {part: root / part / "scans" if (root / part / "scans").is_dir() else root / part for part in needed}
    wrong = [_what_is_wrong(part, folder) for part, folder in folders.items()]
    clinical = root / layout.clinical
    if not clinical.is_file() or clinical.stat().st_size == 0:
        wrong.append(f"{layout.clinical} is {'empty' if clinical.is_file() else 'missing'}")
    if any(wrong):
        raise BreastkitError(f"{root} is not complete: {', '.join(filter(None, wrong))}; add what is named.")
    problems: list[str] = []
    train, inference = (folders[layout.train_scans], folders[layout.inference_scans])
    scans = _paired("train", train, folders[layout.train_masks], problems)
    scans += _paired("inference", inference, root / layout.inference_masks, problems)
    glands = {part: _by_name(root / folder, problems) for part, folder in _gland_folders(layout).items()}
    scans = [replace(scan, glands=glands[scan.part].get(scan.name)) for scan in scans]
    return TissueSet(root, scans, clinical, problems)


def _gland_folders(layout: _Layout) -> dict[str, str]:
    return {"train": layout.train_glands, "inference": layout.inference_glands}


def gland_items(items: Sequence[Item]) -> list[Item]:
    """Returns items to learn glands from: they are the ``label``, and the breasts they are looked for in ``breast``.

    Raises:
        BreastkitError: if glands are outlined in none of them.
    """
    found = [{**item, "breast": item["label"], "label": item["glands"]} for item in items if "glands" in item]
    if not found:
        raise BreastkitError(
            "Fibroglandular tissue is outlined in none of the scans; add masks in train/glands and prepare them again."
        )
    return found


def _what_is_wrong(part: str, folder: Path) -> str | None:
    if not folder.is_dir():
        return f"{part} is missing"
    return None if _volumes(folder) else f"{part} holds no .nii or .nii.gz file"


def _volumes(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.lower().endswith(VOLUME_SUFFIXES) and not path.name.startswith(".")
    )


def _by_name(folder: Path, problems: list[str]) -> dict[str, Path]:
    """Returns the volumes of a folder by stem, without those stored twice."""
    named: dict[str, list[Path]] = defaultdict(list)
    for path in _volumes(folder):
        named[stem(path).lower()].append(path)
    for first, second in (paths[:2] for paths in named.values() if len(paths) > 1):
        problems.append(f"{first} and {second} have the same name; remove the wrong one.")
    return {stem(paths[0]): paths[0] for paths in named.values() if len(paths) == 1}


def _paired(part: str, scan_folder: Path, mask_folder: Path, problems: list[str]) -> list[Scan]:
    """Gives each scan the mask of its name, or the only mask of its patient when it is that patient's only scan."""
    scans, masks = _by_name(scan_folder, problems), _by_name(mask_folder, problems)
    patients = Counter(patient_id(name) for name in scans)
    of_patient: dict[str, list[str]] = defaultdict(list)
    for name in masks:
        if name not in scans:
            of_patient[patient_id(name)].append(name)
    result, used = [], set()
    for name, path in scans.items():
        patient = patient_id(name)
        alone = of_patient[patient] if patients[patient] == 1 and len(of_patient[patient]) == 1 else []
        own = name if name in masks else next(iter(alone), None)
        if own is None and part == "train":
            problems.append(f"{path} has no mask in {mask_folder}; add it or remove the scan.")
            continue
        used.add(own)
        result.append(Scan(part, name, patient, path, masks[own] if own else None))
    problems += [
        f"{path} is a mask without scan; add the scan or remove the mask."
        for name, path in masks.items()
        if name not in used
    ]
    return result


def _read_headers(scans: Sequence[Scan], workers: int | None) -> tuple[dict[Scan, Header], list[str]]:
    """Reads the headers of all scans; returns those that can be read and a sentence for each that cannot."""
    read = parallel_map(_header, scans, "Comparing headers", workers=workers, unit="scan")
    headers = {scan: header for scan, header in zip(scans, read, strict=True) if isinstance(header, Header)}
    return headers, [problem for problem in read if isinstance(problem, str)]


def _header(scan: Scan) -> Header | str:
    from breastkit.images import check_affine

    try:
        header = read_header(scan.path)
        check_affine(header.affine, scan.path)
        for mask in (scan.mask, scan.glands):
            if mask is not None:
                read_header(mask)
    except BreastkitError as error:
        return str(error)
    return header


def _consistency(headers: Mapping[Scan, Header]) -> dict[str, Any]:
    """Returns how alike the scans' orientations and spacings are, and which scans differ from most."""
    if not headers:
        return {}
    import nibabel

    affines = {scan: header.affine for scan, header in headers.items() if header.affine is not None}
    codes = {scan: "".join(nibabel.aff2axcodes(affine)) for scan, affine in affines.items()}
    spacings = {scan: np.linalg.norm(affine[:3, :3], axis=0) for scan, affine in affines.items()}
    orientations = Counter(codes.values()).most_common()
    median = np.median(list(spacings.values()), axis=0)
    different = [
        f"{scan.part}/{scan.name}"
        for scan in headers
        if codes[scan] != orientations[0][0] or np.abs(np.log(spacings[scan] / median)).max() > np.log(_SPACING_FACTOR)
    ]
    values = np.array(list(spacings.values()))
    return {
        "orientations": dict(orientations),
        "spacing_mm": {
            name: [round(float(value), 4) for value in numbers]
            for name, numbers in (("median", median), ("smallest", values.min(0)), ("largest", values.max(0)))
        },
        "different": different,
    }


def _consistency_text(facts: Mapping[str, Any]) -> list[str]:
    if not facts:
        return []
    spacing = facts["spacing_mm"]
    lines = [
        "orientation by header: " + ", ".join(f"{code} ({count})" for code, count in facts["orientations"].items()),
        "spacing in mm: " + ", ".join(f"{name} {' x '.join(map(str, spacing[name]))}" for name in spacing),
    ]
    if facts["different"]:
        lines.append(f"{len(facts['different'])} scans differ from most of the set in orientation or spacing")
    return lines


def _split(
    prepared: Sequence[PreparedCase],
    clinical: Mapping[str, Mapping[str, str]],
    previous: dict[str, list[Item]] | None,
    split_facts: Mapping[str, Any],
    problems: list[str],
) -> dict[str, list[Item]]:
    """Deals training scans by patient; inference scans with masks are to test, those without have their own list."""
    items = {case: case.item(clinical.get(case.patient)) for case in prepared}
    train = [item for case, item in items.items() if case.part == "train"]
    patients = {item["case"] for item in train}
    test: list[Item] = []
    inference: list[Item] = []
    for case, item in items.items():
        if case.part == "train":
            continue
        if case.label is not None and case.patient in patients:
            problems.append(
                f"{item['image']} belongs to a patient among the training scans, so it cannot test; "
                "it is kept as a scan without truth."
            )
        tests = case.label is not None and case.patient not in patients
        (test if tests else inference).append(item if tests else {k: v for k, v in item.items() if k != "label"})
    fractions = _FRACTIONS_WITH_TEST if test else FRACTIONS
    split = split_items(train, fractions=fractions, previous=previous, **split_facts)
    lists = {**split.lists, "test": [*split.lists["test"], *test]}
    return {**lists, "inference": inference} if inference else lists


def _read_clinical(path: Path, problems: list[str]) -> dict[str, dict[str, str]]:
    """Returns the rows of the clinical table by patient; lines above and below the columns' names are skipped."""
    import pandas as pd

    read = pd.read_csv if path.suffix == ".csv" else pd.read_excel
    try:
        table = read(path, header=None, dtype=str)
    except (ValueError, OSError, pd.errors.ParserError, KeyError) as error:
        problems.append(f"{path} cannot be read ({error}); save it again as a table.")
        return {}
    for line in range(min(5, len(table))):
        names = [str(name).strip() for name in table.iloc[line]]
        column = next((n for n, name in enumerate(names) if re.fullmatch(r"patient[ _]?id", name, re.IGNORECASE)), None)
        if column is not None:
            break
    else:
        problems.append(f"{path} has no column patient_id; name the column that holds the patients.")
        return {}
    rows: dict[str, dict[str, str]] = {}
    for values in table.iloc[line + 1 :].itertuples(index=False):
        if isinstance(values[column], str):
            row = {name: value for name, value in zip(names, values, strict=True) if isinstance(value, str)}
            rows.setdefault(patient_id(values[column]), row)
    return rows


def _write_tables(out: Path, lists: Mapping[str, Sequence[Item]]) -> None:
    """Writes ``slices.csv``, one row a slice, and ``orientation.csv``, one row a scan."""
    import pandas as pd

    slices, decisions = [], []
    for name, items in lists.items():
        for item in items:
            image = Path(item["image"]).relative_to(out).as_posix()
            mask = Path(item["label"]).relative_to(out).as_posix() if "label" in item else None
            paths = {"img": image, "mask": mask}
            slices += [_slice_row(item, paths, number, name) for number in range(item["shape"][2])]
            decisions.append(_decision_row(item, image, name))
    for file, rows in (("slices.csv", slices), ("orientation.csv", decisions)):
        # Columns with gaps stay whole numbers.
        write_text(out / file, pd.DataFrame(rows).convert_dtypes().to_csv(index=False))


def _slice_row(item: Item, paths: Mapping[str, Any], number: int, list_name: str) -> dict[str, Any]:
    tested = list_name in ("test", "inference")
    columns, rows, _ = item["shape"]
    return {
        "patient_id": item["case"],
        **paths,
        "slice_number": number,
        "validation": None if tested else int(list_name == "validation"),
        "slice_index": number if tested else None,
        "orig_h": rows if tested else None,
        "orig_w": columns if tested else None,
    }


def _decision_row(item: Item, image: str, list_name: str) -> dict[str, Any]:
    decision, alignment = item["orientation"], item.get("alignment", {})
    row = {"patient_id": item["case"], "img": image, "list": list_name}
    row |= {key: decision[key] for key in ("mode", "preset", "header")}
    for axis in ("rows", "slices"):
        for value in ("first", "second", "wrong", "flipped"):
            row[f"{axis}_{value}"] = decision.get(axis, {}).get(value)
    return row | {f"mask_{key}": alignment.get(key) for key in ("upside_down", "mirrored")}
