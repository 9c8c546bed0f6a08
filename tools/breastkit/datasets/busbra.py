"""BUS-BRA: breast ultrasound of 1064 patients with biopsy and BI-RADS (Gómez-Flores et al., Medical Physics 2024).

Most patients have two views, which share a ``Case``. The set brings its own folds by patient.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from breastkit.datasets.image_sets import Found, Picture, SplitRequest, list_pictures, prepare_images
from breastkit.datasets.registry import DataSet
from breastkit.errors import BreastkitError
from breastkit.images import stem

DATA_SET = DataSet(
    summary="case list of BUS-BRA: breast ultrasound, two views a patient",
    example="breastkit data prepare busbra BUSBRA work/busbra",
    place=5,
)

_COLUMNS = ("ID", "Case", "Pathology")
_FACTS = {"Histology": "histology", "BIRADS": "birads", "Device": "device", "Side": "side"}


def prepare_busbra(
    source: str | Path,
    out: str | Path,
    *,
    leave_out: str | Path | None = None,
    own_folds: bool = True,
    folds: int | None = None,
    seed: int = 0,
    random_split: bool = False,
    test_only: bool = False,
    resize_masks: bool = False,
    workers: int | None = None,
) -> Path:
    """Makes a case list of BUS-BRA by patient, in the folds the set brings.

    Args:
        source: the folder as downloaded, with Images, Masks, bus_data.csv and 5-fold-cv.csv.
        out: the folder to write.
        leave_out: text file with one name of an image to leave out per line.
        own_folds: use the folds of 5-fold-cv.csv; without them the split is 70/20/10 or as asked for with --folds.
        folds: put all cases into this many folds for cross-validation instead.
        seed: another seed gives another split.
        random_split: split image by image, to show how much leaking views flatter a result.
        test_only: put everything into the test list, to measure a model trained elsewhere.
        resize_masks: bring masks of another size to the size of their images.
        workers: processes to work with; all available cores by default.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if a file of the set is missing or no image can be used.
    """
    own_folds = own_folds and folds is None and not random_split and not test_only
    return prepare_images(
        find_busbra(source, own_folds=own_folds),
        out,
        request=SplitRequest(seed, 5 if own_folds else folds, random_split, test_only),
        leave_out=leave_out,
        resize_masks=resize_masks,
        workers=workers,
    )


def find_busbra(source: str | Path, *, own_folds: bool = True) -> Found:
    """Finds the images, masks, patients and, if wanted, folds of BUS-BRA.

    Raises:
        BreastkitError: if a table is missing or lacks a column.
    """
    source = Path(source)
    pictures_by_stem = {
        stem(path).lower(): path for folder in ("Images", "Masks") for path in list_pictures(source / folder)
    }
    table = _table(source / "bus_data.csv", _COLUMNS)
    folds = (
        {row["ID"]: int(row["kFold"]) for row in _table(source / "5-fold-cv.csv", ("ID", "kFold"))} if own_folds else {}
    )
    first_fold = min(folds.values(), default=0)
    pictures, problems = [], []
    for row in table:
        name = row["ID"]
        image = pictures_by_stem.pop(name.lower(), None)
        mask = pictures_by_stem.pop(name.lower().replace("bus_", "mask_", 1), None)
        if image is None or mask is None or (own_folds and name not in folds):
            missing = "image" if image is None else "mask" if mask is None else "fold"
            problems.append(f"bus_data.csv names '{name}', but its {missing} is missing; download the set again.")
            continue
        facts: dict[str, Any] = {"class": row["Pathology"].strip().lower(), "site": "busbra"}
        facts |= {key: row[column].strip() for column, key in _FACTS.items() if row.get(column, "").strip()}
        if own_folds:
            facts["fold"] = folds[name] - first_fold
        pictures.append(Picture(name, image, (mask,), case=row["Case"].strip(), facts=facts))
    problems += [f"{path} is not named in bus_data.csv and is left out." for path in pictures_by_stem.values()]
    return Found("BUS-BRA", source, pictures, problems)


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; give the folder of BUS-BRA as downloaded.")
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BreastkitError(f"{path} is not a CSV file; download the set again.") from error
    missing = [column for column in columns if not rows or column not in rows[0]]
    if missing:
        raise BreastkitError(f"{path} has no column {', '.join(missing)}; download the set again.")
    return rows
