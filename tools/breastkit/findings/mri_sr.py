"""What was measured of the breasts and lesions of an MRI study as a DICOM structured report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from breastkit.dce.glands import GlandMeasures
from breastkit.dicom.report_codes import MEASUREMENTS
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_seg import Segment
from breastkit.dicom.write_sr import Procedure, ReportedFinding, write_structured_report
from breastkit.findings.mri_seg import segments_of
from breastkit.findings.study_findings import MriFindings, StudyLesion
from breastkit.findings.writers import Writer


class MriStructuredReport(Writer[MriFindings]):
    """Writes ``dicom/report.dcm``: a measurement group a lesion, a breast and its glands, each with its segment."""

    format: ClassVar[str] = "sr"
    takes: ClassVar[type[MriFindings]] = MriFindings
    of_dicom: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("seg",)

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the file."""
        return {"report": "dicom/report.dcm"}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the report."""
        # The images that were outlined come first: patient and study are taken from these.
        first = findings.outlined_images
        others = [source for source in findings.images if source is not first]
        write_structured_report(
            self.folder / files["report"],
            _reported(findings),
            self.folder / files["segmentation"],
            [read_source_images(source) for source in (first, *others)],
            Procedure.BREAST_MRI,
            uid_source=findings.uid_source,
            description="AI results: measurements",
        )


def _reported(findings: MriFindings) -> list[ReportedFinding]:
    """Returns the lesions, then the breasts and their glands; the surest lesion is what a reader looks for first."""
    segments = segments_of(findings)
    numbers = {name: number for number, name in enumerate(segments, start=1)}
    lesions = [
        _lesion(lesion, f"Lesion {number}", numbers[f"Lesion {number}"], segments[f"Lesion {number}"])
        for number, lesion in enumerate(findings.lesions, start=1)
    ]
    voxel_ml = float(np.prod(findings.phases.spacing)) / 1000
    breasts = [
        ReportedFinding(
            name,
            SegmentKind.BREAST,
            segment=numbers[name],
            side=segment.side,
            measurements={"breast_ml": (np.count_nonzero(segment.mask) * voxel_ml, "ml")},
            algorithm=segment.algorithm,
        )
        for name, segment in segments.items()
        if segment.kind is SegmentKind.BREAST
    ]
    glands = [
        ReportedFinding(
            name,
            SegmentKind.FIBROGLANDULAR_TISSUE,
            segment=numbers[name],
            side=segment.side,
            measurements=_of_glands(findings.tissue[segment.side]),
            algorithm=segment.algorithm,
        )
        for name, segment in segments.items()
        if segment.kind is SegmentKind.FIBROGLANDULAR_TISSUE and segment.side in findings.tissue
    ]
    return [*lesions, *breasts, *glands]


def _of_glands(measured: GlandMeasures) -> dict[str, tuple[float, str]]:
    units = {"fgt_ml": "ml", "fgt_percent": "%", "bpe_mean": "1", "bpe_quartile": "1"}
    values = {name: measured.rounded()[name] for name in units}
    return {name: (float(value), units[name]) for name, value in values.items() if isinstance(value, int | float)}


def _lesion(lesion: StudyLesion, name: str, number: int, segment: Segment) -> ReportedFinding:
    measured = {one.name: one for one in lesion.measurements}
    numbers = {
        key: (float(one.value), one.unit)
        for key, one in measured.items()
        if key in MEASUREMENTS and isinstance(one.value, int | float)
    }
    curve = measured["kinetic_class"].value if "kinetic_class" in measured else None
    return ReportedFinding(
        name,
        SegmentKind.BREAST_LESION,
        segment=number,
        side=lesion.side,
        measurements={"score": (100 * lesion.score, "%"), **numbers},
        evaluations={"kinetic_class": str(curve)} if curve else {},
        algorithm=segment.algorithm,
    )
