"""What was measured of the breasts and lesions of an MRI study as a DICOM structured report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from breastkit.dce.features import diameter_ends
from breastkit.dce.glands import GlandMeasures
from breastkit.dicom.report_codes import MEASUREMENTS
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.source_images import SourceImages
from breastkit.dicom.write_seg import Segment, frames_on_images
from breastkit.dicom.write_sr import MeasuredLine, Procedure, ReportedFinding, write_structured_report
from breastkit.findings.mri_seg import segments_of
from breastkit.findings.study_findings import MriFindings, StudyLesion
from breastkit.findings.writers import Writer


class MriStructuredReport(Writer[MriFindings]):
    """Writes ``dicom/report.dcm``: a measurement group a lesion, a breast and its glands, each with its segment.

    A lesion has a second one, with its longest diameter within a slice: the line that viewers draw.
    """

    format: ClassVar[str] = "sr"
    takes: ClassVar[type[MriFindings]] = MriFindings
    of_dicom: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("seg",)

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the file."""
        return {"report": "dicom/report.dcm"}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the report."""
        images = findings.source_images
        path = self.folder / files["report"]
        long_axes = [
            _long_axis(frames_on_images(lesion.mask, findings.phases.affine, images[0], path), images[0])
            for lesion in findings.lesions
        ]
        write_structured_report(
            path,
            _reported(findings, long_axes),
            self.folder / files["segmentation"],
            images,
            Procedure.BREAST_MRI,
            uid_source=findings.uid_source,
            description="AI results: measurements",
        )


def _reported(findings: MriFindings, long_axes: Sequence[MeasuredLine]) -> list[ReportedFinding]:
    """Returns the lesions, then the breasts and their glands; the surest lesion is what a reader looks for first."""
    segments = segments_of(findings)
    numbers = {name: number for number, name in enumerate(segments, start=1)}
    names = [f"Lesion {number}" for number in range(1, len(findings.lesions) + 1)]
    lesions = [
        _lesion(lesion, name, numbers[name], segments[name], long_axis)
        for lesion, name, long_axis in zip(findings.lesions, names, long_axes, strict=True)
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


def _lesion(lesion: StudyLesion, name: str, number: int, segment: Segment, long_axis: MeasuredLine) -> ReportedFinding:
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
        lines={"long_axis_mm": long_axis},
        algorithm=segment.algorithm,
    )


def _long_axis(frames: NDArray[Any], images: SourceImages) -> MeasuredLine:
    """Returns the longest diameter of a lesion within one slice.

    Args:
        frames: its mask, as `frames_on_images` gives it.
        images: those it lies on.
    """
    columns, rows, _ = np.linalg.norm(np.asarray(images.grid.affine)[:3, :3], axis=0)
    found = []
    for number in np.flatnonzero(frames.any(axis=(1, 2))):
        ends = diameter_ends(frames[number], spacing=(rows, columns))
        found.append((float(np.linalg.norm((ends[1] - ends[0]) * (rows, columns))), int(number), ends))
    length_mm, number, ends = max(found, key=lambda one: one[0])
    # From rows and columns to columns and rows, and from the middle of the first pixel to its corner.
    ends = ends[:, ::-1] + 0.5
    if len(images.headers) == 1:
        return MeasuredLine(length_mm, ends, images.headers[0], number + 1)
    return MeasuredLine(length_mm, ends, images.headers[number])
