"""The lesions outlined in an ultrasound picture or clip as a DICOM segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_seg import Algorithm, Segment, write_segmentation
from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.ultrasound_objects import ObjectWriter


class OutlinedFrame(NamedTuple):
    """What a segmentation needs of a frame: its number from 0, its mask or probabilities, and what made these."""

    number: int
    mask: NDArray[Any]
    algorithm: Algorithm | None


class UltrasoundSegmentation(ObjectWriter):
    """Writes ``dicom/x_segmentation.dcm`` of an object ``x.dcm``; it is empty where there is no lesion."""

    format: ClassVar[str] = "seg"
    shows: ClassVar[str] = "segmentation"
    series_number: ClassVar[int] = 900

    def files(self, findings: PictureFindings) -> dict[str, str]:
        """Returns the name of the file."""
        return {self.shows: f"dicom/{findings.object_name}_{self.shows}.dcm"}

    def keep(self, findings: PictureFindings) -> OutlinedFrame:
        """Returns the mask and what made it."""
        return OutlinedFrame(findings.frame or 0, findings.mask.astype(bool), findings.algorithm("segmenter"))

    def write_object(
        self, source: Path, frames: Sequence[OutlinedFrame], files: Mapping[str, str], uid_source: str
    ) -> None:
        """Writes the segmentation; frames that could not be read stay empty."""
        images = read_source_images(source)
        mask = np.zeros((len(images.planes), *images.grid.shape[-2:]), dtype=frames[0].mask.dtype)
        for frame in frames:
            mask[frame.number] = frame.mask
        segment = Segment(SegmentKind.BREAST_LESION, mask.reshape(images.grid.shape), frames[0].algorithm)
        write_segmentation(
            self.folder / files[self.shows],
            [segment],
            images,
            series_number=self.series_number,
            description=f"AI results: {self.shows}",
            uid_source=uid_source,
            part="" if self.shows == "segmentation" else self.shows,
        )
