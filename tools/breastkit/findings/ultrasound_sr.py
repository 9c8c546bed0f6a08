"""Class, probabilities and area of the lesions in an ultrasound picture or clip as a DICOM structured report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import ClassVar

from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.source_images import pixel_spacing, read_source_images
from breastkit.dicom.write_sr import Procedure, ReportedFinding, write_structured_report
from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.ultrasound_objects import ObjectWriter

_YES_NO = {True: "yes", False: "no"}


class UltrasoundStructuredReport(ObjectWriter):
    """Writes ``dicom/x_report.dcm`` of an object ``x.dcm``: a measurement group a frame."""

    format: ClassVar[str] = "sr"
    needs: ClassVar[tuple[str, ...]] = ("seg",)

    def files(self, findings: PictureFindings) -> dict[str, str]:
        """Returns the name of the file."""
        return {"report": f"dicom/{findings.object_name}_report.dcm"}

    def keep(self, findings: PictureFindings) -> ReportedFinding:
        """Returns what is reported of a frame; its area is in pixels here."""
        reading, found = findings.reading, findings.reading.found
        measurements = {f"p_{name}": (100 * value, "%") for name, value in reading.probabilities.items()}
        measurements["uncertainty"] = (reading.uncertainty, "1")
        if found:
            measurements["area_px"] = (float(reading.measures["area_px"] or 0), "{pixels}")
        evaluations = {"class": reading.label}
        evaluations |= {"suspicious": _YES_NO[reading.suspicious], "abstain": _YES_NO[reading.abstain]}
        what = "Lesion" if found else "Picture"
        return ReportedFinding(
            what if findings.frame is None else f"{what} in frame {findings.frame + 1}",
            SegmentKind.BREAST_LESION if found else None,
            segment=1 if found else None,
            frame=1 if findings.frame is None else findings.frame + 1,
            measurements=measurements,
            evaluations=evaluations,
            algorithm=findings.algorithm("classifier" if found else "normal_classifier"),
        )

    def write_object(
        self, source: Path, frames: Sequence[ReportedFinding], files: Mapping[str, str], uid_source: str
    ) -> None:
        """Writes the report."""
        images = read_source_images(source)
        write_structured_report(
            self.folder / files["report"],
            [_in_millimetres(frame, pixel_spacing(images.headers[0])) for frame in frames],
            self.folder / files["segmentation"],
            [images],
            Procedure.BREAST_ULTRASOUND,
            uid_source=uid_source,
            description="AI results: measurements",
        )


def _in_millimetres(finding: ReportedFinding, spacing: tuple[float, float] | None) -> ReportedFinding:
    """Returns a finding whose area is in square millimetres where the object says how large a pixel is."""
    if spacing is None or "area_px" not in finding.measurements:
        return finding
    measurements = dict(finding.measurements)
    pixels, _ = measurements.pop("area_px")
    measurements["area_mm2"] = (pixels * prod(spacing), "mm2")
    return replace(finding, measurements=measurements)
