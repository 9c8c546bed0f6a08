"""How sure the network is of every pixel of an ultrasound picture or clip, as a fractional DICOM segmentation."""

from __future__ import annotations

from typing import ClassVar

from breastkit.dicom.write_seg import as_fractions
from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.ultrasound_seg import OutlinedFrame, UltrasoundSegmentation


class UltrasoundProbabilities(UltrasoundSegmentation):
    """Writes ``dicom/x_probabilities.dcm`` of an object ``x.dcm``."""

    format: ClassVar[str] = "probabilities"
    on_request: ClassVar[bool] = True
    of_probabilities: ClassVar[bool] = True
    shows: ClassVar[str] = "probabilities"
    series_number: ClassVar[int] = 902

    def keep(self, findings: PictureFindings) -> OutlinedFrame:
        """Returns the probabilities and what made them."""
        values = as_fractions(findings.probability)
        return OutlinedFrame(findings.frame or 0, values, findings.algorithm("segmenter"))
