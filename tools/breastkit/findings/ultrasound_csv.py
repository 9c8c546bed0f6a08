"""The classes of ultrasound pictures as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.ultrasound_views import CASE_COLUMNS, Views, rounded
from breastkit.findings.writers import Writer
from breastkit.tables import write_table

COLUMNS = (
    "file", "class", "p_normal", "p_benign", "p_malignant", "uncertainty", "abstain", "lesion_area_px", "mask",
    "suspicious", "unfamiliar", "quality",
)  # fmt: skip


class ClassTable(Writer[PictureFindings]):
    """Writes ``results.csv``, one row a picture, so far after each, and ``cases.csv`` where they are views of cases."""

    format: ClassVar[str] = "csv"
    takes: ClassVar[type[PictureFindings]] = PictureFindings
    summary: ClassVar[str] = "results.csv"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: list[dict[str, Any]] = []
        self._views = Views()

    def write(self, findings: PictureFindings, files: Mapping[str, str]) -> None:
        """Adds a row."""
        self._rows.append(table_row(findings, mask=files.get("mask", "")))
        write_table(self.folder / self.summary, self._rows, COLUMNS)
        self._views.add(findings)

    def finish(self, problems: Sequence[str]) -> None:
        """Writes the table of cases."""
        if rows := self._views.rows():
            write_table(self.folder / "cases.csv", rows, CASE_COLUMNS)


def table_row(findings: PictureFindings, *, mask: str = "") -> dict[str, Any]:
    """Returns the row of a picture.

    Args:
        findings: of the picture.
        mask: name of the file of its mask, where there is one.
    """
    reading = findings.reading
    return {
        "file": findings.file,
        "class": reading.label,
        **{f"p_{name}": value for name, value in rounded(reading.probabilities).items()},
        "uncertainty": round(reading.uncertainty, 4),
        "abstain": int(reading.abstain),
        "lesion_area_px": int(np.count_nonzero(reading.mask)),
        "mask": mask,
        "suspicious": int(reading.suspicious),
        "unfamiliar": "" if reading.unfamiliar is None else int(reading.unfamiliar),
        "quality": ";".join(findings.quality),
    }
