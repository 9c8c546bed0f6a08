"""The report of a run as a PDF, and as a DICOM object in each study it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from breastkit.atomic import atomic_path
from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_pdf import write_encapsulated_pdf
from breastkit.findings.run_report import RunReport
from breastkit.findings.study_findings import MriFindings, PictureFindings, StudyFindings
from breastkit.findings.writers import Writer


class ReportPdf(Writer[StudyFindings]):
    """Writes ``report.pdf``, which says the same as the page.

    Where there are DICOM images, ``dicom/report_pdf.dcm`` holds the report of a study, ``dicom/x_report_pdf.dcm`` that
    of an ultrasound object ``x.dcm`` alone: objects of one run may be of several patients.
    """

    format: ClassVar[str] = "pdf"
    takes: ClassVar[type[StudyFindings]] = StudyFindings
    summary: ClassVar[str] = "report.pdf"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._report = RunReport()
        self._of_object: tuple[StudyFindings, RunReport] | None = None

    def write(self, findings: StudyFindings, files: Mapping[str, str]) -> None:
        """Keeps what the report shows; the first frame of another object has the one before written."""
        self._report.add(findings)
        if self._of_object is not None and self._of_object[0].images != findings.images:
            self._write_object()
        if findings.is_dicom:
            # Of the findings themselves only their images and names are needed from here on.
            self._of_object = self._of_object or (findings, RunReport())
            self._of_object[1].add(findings)

    def finish(self, problems: Sequence[str]) -> None:
        """Writes the report."""
        from breastkit.report.pdf import render_pdf

        with atomic_path(self.folder / self.summary) as temporary:
            temporary.write_bytes(render_pdf(self._report.document(problems)))
        self._write_object()

    def _write_object(self) -> None:
        from breastkit.report.pdf import render_pdf

        if self._of_object is None:
            return
        (findings, report), self._of_object = self._of_object, None
        document = report.document()
        if isinstance(findings, MriFindings):
            name, source = "report_pdf.dcm", findings.source_images[0]
        else:
            assert isinstance(findings, PictureFindings)
            name, source = f"{findings.object_name}_report_pdf.dcm", read_source_images(findings.images[0])
        write_encapsulated_pdf(
            self.folder / "dicom" / name,
            render_pdf(document),
            source,
            title=f"{document.kind}: {document.title}",
            uid_source=findings.uid_source,
            description="AI results: report",
        )
