"""What a cohort comes to: ``summary.csv``, ``failures.csv`` and ``index.html``, made of what lies in its folder.

They are made anew from the studies' own files each time, so that they hold all studies however many runs, machines and
interruptions it took to get there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from breastkit.atomic import atomic_path, make_folder, write_json
from breastkit.findings import mri_csv, ultrasound_csv
from breastkit.images import write_png
from breastkit.pipelines.cohort_studies import Study
from breastkit.report.cohort import StudyEntry, write_cohort_pages
from breastkit.tables import write_table

SUMMARY, FAILURES, PAGE = "summary.csv", "failures.csv", "index.html"
THUMBNAIL = "thumbnail.png"
# One file a study that failed, because several machines may write to one cohort.
_FAILED = ".failures"
_HEIGHT = 160
# What a reader would open first of a study.
_FIRST = ("report.html", "overlay.png")


@dataclass(frozen=True)
class Failure:
    """A study that could not be used, wholly or in part.

    Attributes:
        study: its name.
        path: where it lies.
        problem: a sentence.
    """

    study: str
    path: str
    problem: str


@dataclass(frozen=True)
class Contents:
    """What is read of a finished study of one kind.

    Attributes:
        table: its file with one row a finding.
        columns: of the summary, after name and kind of row.
        rows: returns the row of the study and those of its findings from its folder.
        caption: says in words what the first row says.
        picture: the file to make its thumbnail of, where there is one.
    """

    table: str
    columns: tuple[str, ...]
    rows: Callable[[Path], list[dict[str, Any]]]
    caption: Callable[[dict[str, Any]], str]
    picture: Callable[[Path], Path | None]


def _mri_rows(folder: Path) -> list[dict[str, Any]]:
    found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))["study"]
    breast_ml = round(sum(breast["volume_ml"] for breast in found["breasts"]), 1)
    study = {"lesions": len(found["lesions"]), "breast_ml": breast_ml, "doubts": " ".join(found["doubts"])}
    return [{"row": "study", **study}, *({"row": "lesion", **row} for row in _read(folder / "lesions.csv"))]


def _mri_caption(study: dict[str, Any]) -> str:
    lesions = int(study["lesions"])
    return f"{lesions or 'no'} lesion{'' if lesions == 1 else 's'}, breasts {float(study['breast_ml']):.0f} ml"


def _mri_picture(folder: Path) -> Path | None:
    return folder / "overlay.png"


def _ultrasound_rows(folder: Path) -> list[dict[str, Any]]:
    """Returns of the study what its most suspicious picture says; a picture without an outline has a row as well."""
    pictures = _read(folder / "results.csv")
    worst = max(pictures, key=lambda row: float(row["p_malignant"]))
    unsure = sum(row["abstain"] == "1" for row in pictures)
    doubts = f"{unsure} of {len(pictures)} pictures are too uncertain to rely on." if unsure else ""
    study = {
        "pictures": len(pictures),
        "doubts": doubts,
        "lesions": sum(row["lesion_area_px"] != "0" for row in pictures),
        **{name: worst[name] for name in ("file", "class", "p_malignant", "suspicious", "abstain")},
    }
    rows = [{"row": "picture" if row["lesion_area_px"] == "0" else "lesion", **row} for row in pictures]
    return [{"row": "study", **study}, *rows]


def _ultrasound_caption(study: dict[str, Any]) -> str:
    pictures, lesions = int(study["pictures"]), int(study["lesions"])
    suspicious = ", suspicious" if study["suspicious"] == "1" else ""
    return (
        f"{pictures} picture{'' if pictures == 1 else 's'}, a lesion in {lesions or 'none'}; malignant with at most "
        f"{100 * float(study['p_malignant']):.1f}\u202f%{suspicious}"
    )


def _ultrasound_picture(folder: Path) -> Path | None:
    worst = _ultrasound_rows(folder)[0]["file"]
    mask = next(row["mask"] for row in _read(folder / "results.csv") if row["file"] == worst)
    return folder / f"{mask.removesuffix('_mask.png')}_overlay.png" if mask else None


CONTENTS = {
    "mri": Contents(
        "lesions.csv", ("lesions", "breast_ml", "doubts", *mri_csv.COLUMNS), _mri_rows, _mri_caption, _mri_picture
    ),
    "us": Contents(
        "results.csv",
        ("pictures", "lesions", "doubts", *ultrasound_csv.COLUMNS),
        _ultrasound_rows,
        _ultrasound_caption,
        _ultrasound_picture,
    ),
}


def write_thumbnail(kind: str, folder: Path) -> None:
    """Writes the small picture of a study that the cohort's page shows."""
    source = CONTENTS[kind].picture(folder)
    array = cv2.imread(str(source)) if source is not None else None
    if array is not None:
        height, width = array.shape[:2]
        size = max(1, round(width * _HEIGHT / height)), _HEIGHT
        write_png(
            folder / THUMBNAIL, cv2.cvtColor(cv2.resize(array, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        )


def finished_studies(out: Path, kind: str) -> list[Path]:
    """Returns the folders of the studies that are done, by name."""
    table = CONTENTS[kind].table
    return sorted(path.parent for path in out.glob(f"*/{table}") if path.parent.name[0] != ".")


def is_finished(folder: Path, kind: str) -> bool:
    """Tells whether a study's folder is there, which means that it is whole."""
    return (folder / CONTENTS[kind].table).is_file()


def write_summary(out: Path, kind: str) -> Path:
    """Writes both tables and the pages of a cohort, and returns the first page."""
    contents, failures = CONTENTS[kind], read_failures(out)
    studies = finished_studies(out, kind)
    write_table(out / FAILURES, [vars(failure) for failure in failures], ("study", "path", "problem"))
    with atomic_path(out / SUMMARY) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, ("study", "row", *contents.columns), extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        entries = list(_entries(studies, contents, table))
    return write_cohort_pages(out, kind, entries, [(each.study, each.problem) for each in failures])


def _entries(studies: Iterable[Path], contents: Contents, table: csv.DictWriter[str]) -> Iterator[StudyEntry]:
    """Yields what the page shows of every study, once its rows are in the table."""
    for folder in studies:
        rows = contents.rows(folder)
        table.writerows({"study": folder.name, **row} for row in rows)
        first = next((name for name in _FIRST if (folder / name).is_file()), "")
        yield StudyEntry(
            name=folder.name,
            caption=contents.caption(rows[0]),
            lesions=int(rows[0]["lesions"]),
            doubts=str(rows[0].get("doubts", "")),
            link=f"{folder.name}/{first}",
            thumbnail=f"{folder.name}/{THUMBNAIL}" if (folder / THUMBNAIL).is_file() else "",
        )


def read_failures(out: Path) -> list[Failure]:
    """Returns what failed, by name of the study."""
    return [Failure(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted((out / _FAILED).glob("*.json"))]


def failed_studies(out: Path) -> set[str]:
    """Returns the names of the studies that failed."""
    return {_name_in(path) for path in (out / _FAILED).glob("*.json")}


def keep_failure(out: Path, study: Study, problem: str) -> None:
    """Keeps why a study failed."""
    # Two studies may have one name: that is why they failed.
    which = hashlib.sha256(study.place.encode()).hexdigest()[:8]
    write_json(
        make_folder(out / _FAILED) / f"{study.name}.{which}.json", vars(Failure(study.name, study.place, problem))
    )


def forget_study(out: Path, name: str) -> None:
    """Removes a study that failed, with what was made of its better part, so that it is run again."""
    shutil.rmtree(out / name, ignore_errors=True)
    forget_failures(out, name)


def forget_failures(out: Path, name: str) -> None:
    """Removes what was kept of why a study failed."""
    for path in (out / _FAILED).glob("*.json"):
        if _name_in(path) == name:
            path.unlink()


def _name_in(path: Path) -> str:
    return path.name.rsplit(".", 2)[0]


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
