"""Which ultrasound pictures are views of one case, by a case list or a table."""

from __future__ import annotations

import csv
from pathlib import Path

from breastkit.cases import FILE_NAME, read_cases
from breastkit.errors import BreastkitError
from breastkit.images import stem

_COLUMNS = ("file", "case")


def cases_of_pictures(source: str | Path, cases: str | Path | None = None) -> dict[str, str]:
    """Returns the cases of pictures by the names of their files without suffix.

    Args:
        source: the pictures; without a file of cases, the case list in that folder, or in the one above it, is read.
        cases: a case list, or a CSV table with the columns file and case.

    Raises:
        BreastkitError: if there is no such file, or it says nothing of cases.
    """
    path = Path(cases) if cases is not None else _beside(Path(source))
    if path.suffix.lower() == ".csv":
        return _of_table(path)
    listed = {
        stem(item["image"]): str(item["case"]) for _, item in read_cases(path, check=False).items() if "case" in item
    }
    if not listed:
        raise BreastkitError(f"{path} names no case of any picture; give a CSV table with --cases.")
    return listed


def _beside(source: Path) -> Path:
    folder = source if source.is_dir() else source.parent
    for place in (folder, folder.resolve().parent):
        if (place / FILE_NAME).is_file():
            return place / FILE_NAME
    raise BreastkitError(
        f"{folder} has no {FILE_NAME} in it or above it, so nothing says which pictures are of one case; name a case "
        f"list, or a CSV table with the columns {' and '.join(_COLUMNS)}, with --cases."
    )


def _of_table(path: Path) -> dict[str, str]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BreastkitError(f"{path} cannot be read as a CSV table; name another with --cases.") from error
    if not rows or any(column not in rows[0] for column in _COLUMNS):
        raise BreastkitError(f"{path} needs the columns {' and '.join(_COLUMNS)}, a line a picture; add them.")
    return {stem(row["file"]): row["case"] for row in rows if row["file"] and row["case"]}
