"""The classes of ultrasound pictures as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.writers import Writer
from breastkit.inference.results import write_table

COLUMNS = (
    "file", "class", "p_normal", "p_benign", "p_malignant", "uncertainty", "abstain", "lesion_area_px", "mask",
    "suspicious", "quality",
)  # fmt: skip


class ClassTable(Writer[PictureFindings]):
    """Writes ``results.csv``, one row a picture, so far after each."""

    format: ClassVar[str] = "csv"
    takes: ClassVar[type[PictureFindings]] = PictureFindings
    summary: ClassVar[str] = "results.csv"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: list[dict[str, Any]] = []

    def write(self, findings: PictureFindings, files: Mapping[str, str]) -> None:
        """Adds a row."""
        self._rows.append(table_row(findings, mask=files.get("mask", "")))
        write_table(self.folder / self.summary, self._rows, COLUMNS)


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
        "quality": ";".join(findings.quality),
    }


def rounded(probabilities: Mapping[str, float], digits: int = 4) -> dict[str, float]:
    """Returns probabilities with few digits that still sum to 1: the largest takes what rounding leaves over."""
    few = {name: round(value, digits) for name, value in probabilities.items()}
    largest = max(few, key=few.__getitem__)
    few[largest] = round(1 - sum(value for name, value in few.items() if name != largest), digits)
    return few
