"""How sure the networks are of every voxel of an MRI study, as a fractional DICOM segmentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from breastkit.dce.sides import on_side
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_seg import Segment, as_fractions, write_segmentation
from breastkit.findings.mri_seg import segments_of
from breastkit.findings.study_findings import MriFindings
from breastkit.findings.writers import Writer


class MriProbabilities(Writer[MriFindings]):
    """Writes ``dicom/probabilities.dcm``: the segments of ``dicom/segmentation.dcm`` with probabilities for masks.

    Glands are left out: the rule that outlines them knows no probability.
    """

    format: ClassVar[str] = "probabilities"
    takes: ClassVar[type[MriFindings]] = MriFindings
    of_dicom: ClassVar[bool] = True
    on_request: ClassVar[bool] = True
    of_probabilities: ClassVar[bool] = True

    def files(self, findings: MriFindings) -> dict[str, str]:
        """Returns the name of the file."""
        return {"probabilities": "dicom/probabilities.dcm"}

    def write(self, findings: MriFindings, files: Mapping[str, str]) -> None:
        """Writes the segmentation."""
        write_segmentation(
            self.folder / files["probabilities"],
            list(_fractional(findings)),
            findings.source_images[0],
            affine=findings.phases.affine,
            series_number=902,
            description="AI results: probabilities",
            uid_source=findings.uid_source,
            part="probabilities",
        )


def _fractional(findings: MriFindings) -> Iterator[Segment]:
    lesions = {f"Lesion {number}": lesion for number, lesion in enumerate(findings.lesions, start=1)}
    for name, segment in segments_of(findings).items():
        if segment.kind is SegmentKind.FIBROGLANDULAR_TISSUE:
            continue
        said = lesions[name].probability if name in lesions else findings.breast_probability
        if said is None:
            raise ValueError(f"the probability of {name} was not kept")
        yield replace(segment, mask=as_fractions(said if name in lesions else _of_side(said, segment, findings)))


def _of_side(said: NDArray[Any], segment: Segment, findings: MriFindings) -> NDArray[Any]:
    if segment.side is None or findings.midline is None:
        return said
    here = on_side(np.ones(said.shape, bool), findings.phases.grid, findings.midline, segment.side)
    return np.where(here, said, np.float32(0))
