"""The pages of a cohort: links to all studies with a small picture of each, and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from breastkit.report.page import render_page

# Of a page of more studies a browser would need long.
_A_PAGE = 500
_FAILURES_SHOWN = 200
_KINDS = {"mri": "Dynamic breast MRI", "us": "Breast ultrasound"}


@dataclass(frozen=True)
class StudyEntry:
    """What a page shows of a study.

    Attributes:
        name: of the study.
        caption: what was found, in a few words.
        lesions: how many.
        doubts: sentences on what may be wrong; empty where nothing is.
        link: to what a reader would open first, relative to the page.
        thumbnail: its small picture, relative to the page; empty where there is none.
    """

    name: str
    caption: str
    lesions: int
    doubts: str
    link: str
    thumbnail: str


def write_cohort_pages(
    out: Path, kind: str, entries: Sequence[StudyEntry], failures: Sequence[tuple[str, str]]
) -> Path:
    """Writes ``index.html`` and, for many studies, ``index_2.html`` and so on; returns the first.

    Args:
        out: the folder of the cohort.
        kind: ``mri`` or ``us``.
        entries: the studies that are done, by name.
        failures: name and sentence of those that are not.
    """
    parts = [entries[start : start + _A_PAGE] for start in range(0, len(entries), _A_PAGE)] or [[]]
    names = ["index.html", *(f"index_{number}.html" for number in range(2, len(parts) + 1))]
    for name in {path.name for path in out.glob("index_*.html")} - set(names):
        (out / name).unlink()
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        render_page(
            "cohort.html",
            out / name,
            modality=_KINDS[kind],
            entries=part,
            number=number,
            pages=names,
            studies=len(entries),
            with_lesion=sum(entry.lesions > 0 for entry in entries),
            lesions=sum(entry.lesions for entry in entries),
            doubtful=sum(bool(entry.doubts) for entry in entries),
            failures=failures[:_FAILURES_SHOWN],
            failed=len(failures),
        )
    return out / names[0]
