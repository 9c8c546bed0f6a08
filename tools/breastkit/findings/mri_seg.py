"""Breasts and lesions of an MRI study as a DICOM segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_seg import Algorithm, Segment, write_segmentation
from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer

FILE = "dicom/segmentation.dcm"


class MriSegmentation(Writer[MriFindings]):
    """Writes ``dicom/segmentation.dcm``: a segment a breast, a lesion and the glands of a breast, on one phase."""

    format: ClassVar[str] = "seg"
    takes: ClassVar[type[MriFindings]] = MriFindings
    of_dicom: ClassVar[bool] = True

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the file."""
        return {"segmentation": FILE}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the segmentation."""
        write_segmentation(
            self.folder / files["segmentation"],
            list(segments_of(findings).values()),
            # All phases have the same voxels in the same order, so the masks lie on any of them.
            findings.source_images[0],
            affine=findings.phases.affine,
            description="AI results: segmentation",
            uid_source=findings.uid_source,
        )


def segments_of(findings: MriFindings) -> dict[str, Segment]:
    """Returns the segments in the order of their numbers, by what they are tracked as.

    Where it is not plain which breast is which, both are one segment. Without any there is an empty one.
    """
    segments = _breasts(findings) if findings.breast.any() or not findings.lesions else {}
    for number, lesion in enumerate(findings.lesions, start=1):
        name = f"Lesion {number}"
        segments[name] = Segment(
            SegmentKind.BREAST_LESION, lesion.mask, findings.algorithm("segmenter"), name, lesion.side, name
        )
    return segments | _glands(findings)


def _breasts(findings: MriFindings) -> dict[str, Segment]:
    return {
        name: Segment(SegmentKind.BREAST, mask, findings.algorithm("breasts"), name, side, name)
        for side, mask in findings.breasts().items()
        for name in [f"{side.capitalize()} breast" if side else "Breasts"]
    }


def _glands(findings: MriFindings) -> dict[str, Segment]:
    """Returns the fibroglandular tissue of each breast that has some."""
    if findings.glands is None:
        return {}
    rule = Algorithm("breastkit glands threshold", findings.package)
    parts = {side: mask & findings.glands for side, mask in findings.breasts().items()}
    return {
        name: Segment(SegmentKind.FIBROGLANDULAR_TISSUE, mask, findings.algorithm("glands") or rule, name, side, name)
        for side, mask in parts.items()
        if mask.any()
        for name in [f"{side.capitalize()} fibroglandular tissue" if side else "Fibroglandular tissue"]
    }
