"""The lesions of an MRI study as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from breastkit.dce.features import KINETICS, MOTION, PLACE, SHAPE
from breastkit.findings.study_findings import MriFindings, StudyLesion
from breastkit.findings.writers import Writer
from breastkit.tables import write_table

_BOUNDS = ("row_min", "row_max", "col_min", "col_max", "slice_min", "slice_max")
_WHERE = ("laterality", "quadrant", "clock")
COLUMNS = ("lesion", "score", *_WHERE, *_BOUNDS, *SHAPE, *PLACE, *KINETICS, *MOTION)


class LesionTable(Writer[MriFindings]):
    """Writes ``lesions.csv``: score, box and measurements, one row a lesion."""

    format: ClassVar[str] = "csv"
    takes: ClassVar[type[MriFindings]] = MriFindings
    summary: ClassVar[str] = "lesions.csv"

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the table."""
        return {"table": self.summary}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the table; one without lesions has its header alone."""
        rows = [_row(number, lesion) for number, lesion in enumerate(findings.lesions, start=1)]
        write_table(self.folder / files["table"], rows, COLUMNS)


def _row(number: int, lesion: StudyLesion) -> dict[str, Any]:
    measured = {each.name: each.value for each in lesion.measurements}
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in measured.items()}
    where = dict(zip(_WHERE, (lesion.side, lesion.quadrant, lesion.clock and str(lesion.clock)), strict=True))
    return {"lesion": number, "score": round(lesion.score, 4), **where, **lesion.box.bounds, **rounded}
