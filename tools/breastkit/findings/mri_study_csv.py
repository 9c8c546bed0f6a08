"""An MRI study as one row of a table: breasts, glands, motion and phases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from breastkit.dicom.derived_objects import Side
from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer
from breastkit.tables import write_table

_MEASURES = ("breast_ml", "fgt_ml", "fgt_percent", "density", "bpe_mean", "bpe_quartile")
# Where it is not plain which breast is which, both are measured as one.
_PARTS = {Side.RIGHT: "right", Side.LEFT: "left", None: "both"}
COLUMNS = (
    *("study", "lesions", "phases", "phase_before", "phase_after", "motion_mm", "motion_taken_out", "doubts"),
    *(f"{part}_{name}" for part in _PARTS.values() for name in _MEASURES),
)


class StudyTable(Writer[MriFindings]):
    """Writes ``study.csv``: one row with volumes, density and enhancement of the glands by side, motion and phases."""

    format: ClassVar[str] = "study"
    takes: ClassVar[type[MriFindings]] = MriFindings

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the table."""
        return {"study": "study.csv"}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the table."""
        write_table(self.folder / files["study"], [_row(findings)], COLUMNS)


def _row(findings: MriFindings) -> dict[str, Any]:
    moved = [motion.mean_mm for motion in findings.motions if motion is not None]
    most = max(moved, default=None)
    before, after = (source.name if isinstance(source, Path) else source.description for source in findings.sources[:2])
    row: dict[str, Any] = {
        "study": findings.name,
        "lesions": len(findings.lesions),
        "phases": len(findings.sources),
        "phase_before": before,
        "phase_after": after,
        "motion_mm": None if most is None else round(most, 2),
        "motion_taken_out": most is not None and most > findings.left_mm,
        "doubts": len(findings.doubts),
    }
    for side, measured in findings.tissue.items():
        row |= {f"{_PARTS[side]}_{name}": value for name, value in measured.rounded().items()}
    return row
