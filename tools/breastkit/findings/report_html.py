"""The report of a run as one page to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from breastkit.atomic import write_text
from breastkit.findings.run_report import RunReport
from breastkit.findings.study_findings import StudyFindings
from breastkit.findings.writers import Writer
from breastkit.report.document import render_html


class ReportPage(Writer[StudyFindings]):
    """Writes ``report.html``, which needs nothing else: of a study, or of all pictures of a run."""

    format: ClassVar[str] = "html"
    takes: ClassVar[type[StudyFindings]] = StudyFindings
    summary: ClassVar[str] = "report.html"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._report = RunReport()

    def write(self, findings: StudyFindings, files: Mapping[str, str]) -> None:
        """Keeps what the page shows."""
        self._report.add(findings)

    def finish(self, problems: Sequence[str]) -> None:
        """Writes the page."""
        write_text(self.folder / self.summary, render_html(self._report.document(problems)))
