"""The report of a run as a PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from breastkit.atomic import atomic_path
from breastkit.findings.run_report import RunReport
from breastkit.findings.study_findings import StudyFindings
from breastkit.findings.writers import Writer


class ReportPdf(Writer[StudyFindings]):
    """Writes ``report.pdf``, which says the same as the page."""

    format: ClassVar[str] = "pdf"
    takes: ClassVar[type[StudyFindings]] = StudyFindings

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._report = RunReport()

    def write(self, findings: StudyFindings, files: Mapping[str, str]) -> None:
        """Keeps what the report shows."""
        self._report.add(findings)

    def finish(self, problems: Sequence[str]) -> None:
        """Writes the report."""
        from breastkit.report.pdf import render_pdf

        with atomic_path(self.folder / "report.pdf") as temporary:
            temporary.write_bytes(render_pdf(self._report.document(problems)))
