"""Which studies a cohort has: the sub-folders of a folder, or the lines of a table; and one part of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breastkit.dicom import is_dicom
from breastkit.dicomweb.folder_index import is_uid
from breastkit.errors import BreastkitError, UsageError
from breastkit.images import DICOM_SUFFIXES, stem
from breastkit.lazy_imports import imported_later
from breastkit.pipelines.exchange import study_address

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = imported_later("pandas")

# What lies at the top of a cohort's folder beside the studies.
RESERVED = ("cohort.json", "summary.csv", "failures.csv")
_PAGE = re.compile(r"index(_\d+)?\.html")
_EACH_ONCE = "give each a name of its own in the column 'study' of a table for --cases"


@dataclass(frozen=True)
class Study:
    """A study of a cohort.

    Attributes:
        name: of the folder its results are written to.
        place: folder or file of the study, or its address in an archive.
        problem: a sentence where it cannot be run; empty where it can.
    """

    name: str
    place: str
    problem: str = ""


def studies_in(folder: str, *, holds_study: Callable[[Path], bool]) -> tuple[list[Study], list[tuple[Path, str]]]:
    """Returns the sub-folders of a folder as studies, by name, and what was left aside.

    Args:
        folder: where they lie.
        holds_study: tells whether a sub-folder that is not empty may be one.

    Raises:
        BreastkitError: if it is no folder or has no sub-folder that may be a study.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BreastkitError(f"{folder} is not a folder; give the folder of which every sub-folder is a study.")
    studies, aside = [], []
    for path in sorted(path for path in root.iterdir() if path.name[0] != "."):
        if not path.is_dir():
            aside.append((path, "not a folder, so no study"))
        elif any(True for _ in files_below(path)) and not holds_study(path):
            aside.append((path, "a folder without images of a study"))
        else:
            studies.append(Study(path.name, str(path.absolute()), _name_problem(path.name)))
    if not studies:
        raise BreastkitError(f"{folder} has no sub-folder with a study; every sub-folder is taken as one.")
    return studies, aside


def studies_of_table(table: str, *, archive: str | None = None) -> list[Study]:
    """Returns the studies that a table names.

    Args:
        table: a CSV file with the column ``path``, relative to it or absolute, and perhaps ``study``, the name; by
            default the name is that of folder or file. Of a study of the archive it has a StudyInstanceUID in the
            column ``uid`` instead, which is its name as well by default.
        archive: address of the DICOMweb service that has the studies named by ``uid``.

    Raises:
        BreastkitError: if it cannot be read or names no study, or some by ``uid`` and there is no archive.
    """
    studies = []
    for row in _rows(table):
        name, uid, given = (str(row.get(column, "")).strip() for column in ("study", "uid", "path"))
        if uid and archive is None:
            raise UsageError(f"{table} names studies of an archive in its column 'uid'; give its address with --pull.")
        if uid and not given:
            name = name or uid
            unknown = "" if is_uid(uid) else f"'{uid}' is no identifier of a study; give a StudyInstanceUID."
            studies.append(Study(name, study_address(str(archive), uid), _name_problem(name) or unknown))
        elif given:
            place = Path(os.path.normpath(Path(table).absolute().parent / Path(given).expanduser()))
            name = name or (place.name if place.is_dir() else stem(place))
            studies.append(Study(name, str(place), _name_problem(name)))
    if not studies:
        raise BreastkitError(f"{table} names no study; fill its column 'path'.")
    return _each_name_once(studies)


def _rows(table: str) -> list[dict[Hashable, Any]]:
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except FileNotFoundError as error:
        raise BreastkitError(f"{table} does not exist; give --cases a CSV file with the column 'path'.") from error
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise BreastkitError(f"{table} cannot be read as a CSV file; save it again as CSV, in UTF-8.") from error
    if "path" not in rows and "uid" not in rows:
        raise BreastkitError(f"{table} has no column 'path'; name in it the folder of every study.")
    found: list[dict[Hashable, Any]] = rows.to_dict("records")
    return found


def shard_of(studies: Sequence[Study], shard: str | None) -> list[Study]:
    """Returns one of n equal parts of the studies, always the same for the same list.

    Args:
        studies: all of them.
        shard: which part, ``i/n`` with i from 1; all without.

    Raises:
        UsageError: if it is written otherwise.
    """
    if shard is None:
        return list(studies)
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--shard takes a part and the number of parts, for example 1/4, not {shard!r}.")
    return list(studies[number - 1 :: count])


def files_below(folder: Path) -> Iterator[Path]:
    """Yields the files in a folder and its sub-folders as they come, without hidden ones."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (Path(place, name) for name in sorted(names) if name[0] != ".")


def is_dicom_or_named_so(path: Path) -> bool:
    """Tells whether a file is DICOM, or a damaged one by its name."""
    return path.name.lower().endswith(DICOM_SUFFIXES) or is_dicom(path)


def _each_name_once(studies: Sequence[Study]) -> list[Study]:
    """Returns the studies with a problem where two would write one folder: which of them is meant nobody can tell."""
    counts = Counter(study.name for study in studies)
    places = {name: [one.place for one in studies if one.name == name] for name, count in counts.items() if count > 1}
    return [
        Study(
            one.name,
            one.place,
            f"{' and '.join(places[one.name])} are both called '{one.name}'; {_EACH_ONCE}.",
        )
        if one.name in places
        else one
        for one in studies
    ]


def _name_problem(name: str) -> str:
    if name in RESERVED or _PAGE.fullmatch(name) or name[0] == "." or "/" in name or "\\" in name:
        return f"'{name}' cannot be the name of a folder of results; {_EACH_ONCE}."
    return ""
