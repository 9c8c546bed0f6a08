"""What the report of a run says, gathered while it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from breastkit.findings.mri_report import mri_document
from breastkit.findings.study_findings import MriFindings, PictureFindings, StudyFindings
from breastkit.findings.ultrasound_report import PicturesReport
from breastkit.report.document import Document


class RunReport:
    """The report of a study, or of all pictures of a run; of what it was made of only what it shows is kept."""

    def __init__(self) -> None:
        self._study: Document | None = None
        self._pictures = PicturesReport()

    def add(self, findings: StudyFindings) -> None:
        """Takes findings in."""
        if isinstance(findings, MriFindings):
            self._study = mri_document(findings)
        elif isinstance(findings, PictureFindings):
            self._pictures.add(findings)

    def document(self, problems: Sequence[str] = ()) -> Document:
        """Returns the report.

        Args:
            problems: sentences on inputs that could not be used.
        """
        return self._study or self._pictures.document(problems)
