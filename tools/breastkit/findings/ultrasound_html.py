"""Ultrasound pictures and what was found in them on one page to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
from numpy.typing import NDArray

from breastkit.findings.study_findings import Model, PictureFindings
from breastkit.findings.ultrasound_csv import table_row
from breastkit.findings.ultrasound_json import model_facts
from breastkit.findings.ultrasound_png import drawn
from breastkit.findings.ultrasound_views import Views
from breastkit.findings.writers import Writer
from breastkit.inference.ultrasound import CLASSES
from breastkit.report.page import picture, render, render_page

# Pages of more pictures than this would be slow to open; the files of all of them lie beside the page.
_PICTURED = 60
_HEIGHT = 320


class UltrasoundPage(Writer[PictureFindings]):
    """Writes ``index.html``, the most probably malignant picture first."""

    format: ClassVar[str] = "html"
    takes: ClassVar[type[PictureFindings]] = PictureFindings
    summary: ClassVar[str] = "index.html"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._shown: list[dict[str, Any]] = []
        self._models: Sequence[Model] = ()
        self._views = Views()

    def write(self, findings: PictureFindings, files: Mapping[str, str]) -> None:
        """Keeps what the page shows of a picture."""
        self._shown.append(_for_page(findings, mask=files.get("mask", "")))
        self._models = findings.models
        self._views.add(findings)

    def finish(self, problems: Sequence[str]) -> None:
        """Writes the page."""
        shown = sorted(self._shown, key=lambda entry: -entry["row"]["p_malignant"])
        context = _context(shown, self._models, problems, self._views.rows())
        render_page("ultrasound.html", self.folder / self.summary, **context)


def single_page(findings: PictureFindings) -> str:
    """Returns the report of one picture as a page in memory; nothing is written."""
    return render("ultrasound.html", **_context([_for_page(findings)], findings.models, [], []))


def _for_page(findings: PictureFindings, *, mask: str = "") -> dict[str, Any]:
    # Kept small: a cohort's pictures wait here for the page.
    shown = {"picture": findings.picture.gray, **drawn(findings)}
    return {
        "row": table_row(findings, mask=mask),
        "note": " ".join(findings.doubts),
        "pictures": {kind: _shrunk(array) for kind, array in shown.items()},
    }


def _shrunk(array: NDArray[Any]) -> str:
    scale = _HEIGHT / array.shape[0]
    if scale < 1:
        size = (max(1, round(array.shape[1] * scale)), _HEIGHT)
        array = cv2.resize(array, size, interpolation=cv2.INTER_AREA)
    return picture(array)


def _context(
    shown: Sequence[Mapping[str, Any]],
    models: Sequence[Model],
    problems: Sequence[str],
    cases: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    rows = [entry["row"] for entry in shown]
    counts = Counter(row["class"] for row in rows)
    return {
        "title": rows[0]["file"] if len(rows) == 1 else "Breast ultrasound",
        "rows": rows,
        "cases": list(cases),
        "counts": [(name, counts[name]) for name in CLASSES],
        "suspicious": sum(row["suspicious"] for row in rows),
        "abstained": sum(row["abstain"] for row in rows),
        "shown": shown[:_PICTURED],
        "facts": model_facts(models),
        "problems": list(problems),
    }
