"""Segmentations of clips: frames that follow in time and have no place in the patient.

highdicom makes segmentations of one frame without a frame of reference and no more. The rest is added here: every
frame says by reference which frame of the clip it outlines.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels import pack_bits
from pydicom.uid import UltrasoundImageStorage


def first_frame_of(header: Dataset) -> Dataset:
    """Returns the header of a clip as that of a single picture."""
    single = deepcopy(header)
    # highdicom looks for the geometry that other multi-frame objects have.
    single.SOPClassUID = UltrasoundImageStorage
    for name in ("NumberOfFrames", "FrameTime", "FrameTimeVector", "FrameIncrementPointer"):
        if name in single:
            delattr(single, name)
    return single


def extend_to_clip(result: Dataset, frames: np.ndarray, header: Dataset, *, keep_empty: bool) -> None:
    """Gives a segmentation that was made of a clip's first frame the frames of all of it.

    Args:
        result: the segmentation, with one frame a segment.
        frames: (frames, rows, columns, segments) of 0 and 1, or of probabilities for a fractional object.
        header: of the clip.
        keep_empty: keep frames without anything in them.
    """
    models = list(result.PerFrameFunctionalGroupsSequence)
    keep = np.ones(len(frames), bool) if keep_empty or not frames.any() else frames.any(axis=(1, 2, 3))
    items, planes = [], []
    for segment, model in enumerate(models):
        for place, number in enumerate(np.flatnonzero(keep), start=1):
            items.append(_frame_item(model, segment + 1, int(number) + 1, place))
            planes.append(frames[number, :, :, segment])
    result.PerFrameFunctionalGroupsSequence = items
    _refer_to_class(result, header.SOPClassUID)
    result.NumberOfFrames = len(items)
    result.DimensionIndexSequence = [*result.DimensionIndexSequence, _time_dimension(result)]
    if result.SegmentationType == "BINARY":
        result.PixelData = pack_bits(np.stack(planes).astype(np.uint8))
    else:
        values = np.around(np.stack(planes) * int(result.MaximumFractionalValue)).astype(np.uint8).tobytes()
        # Values have an even length in DICOM.
        result.PixelData = values + b"\0" * (len(values) % 2)


def _refer_to_class(result: Dataset, kind: str) -> None:
    """References name the class of the clip, not that of the single picture it was taken for."""
    for element in result.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = kind


def _frame_item(model: Dataset, segment: int, number: int, place: int) -> Dataset:
    item = deepcopy(model)
    item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = number
    content = item.FrameContentSequence[0]
    content.DimensionIndexValues = [segment, place]
    content.StackID = "1"
    # The place among the frames that are here, as an index must be; the reference names the frame of the clip.
    content.InStackPositionNumber = place
    return item


def _time_dimension(result: Dataset) -> Dataset:
    dimension = Dataset()
    dimension.DimensionOrganizationUID = result.DimensionIndexSequence[0].DimensionOrganizationUID
    dimension.DimensionIndexPointer = tag_for_keyword("InStackPositionNumber")
    dimension.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
    dimension.DimensionDescriptionLabel = "Frame of the clip"
    return dimension
