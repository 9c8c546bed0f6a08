"""Segmentations of pictures and clips, which have no place in the patient.

highdicom makes segmentations of one frame without a frame of reference and no more. The rest is added here: every frame
says by reference which frame of the clip it outlines, and the size of a pixel comes from the ultrasound's calibration.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels import pack_bits
from pydicom.uid import UltrasoundImageStorage
from pydicom.valuerep import DSfloat

from breastkit.dicom.source_images import pixel_spacing

# How OHIF takes pictures to lie that do not say it; without a frame of reference it means nothing in the patient.
_LIKE_A_PICTURE = (0, 1, 0, 0, 0, -1)


def add_flat_geometry(result: Dataset, header: Dataset) -> None:
    """Says of a segmentation of a picture that its rows and columns are those of the picture, and how large a pixel is.

    OHIF draws no segmentation that does not lie as the picture does, and its whole viewer fails on one without the
    group of the pixel's size.

    Args:
        result: the segmentation.
        header: of the picture or clip.
    """
    shared = result.SharedFunctionalGroupsSequence[0]
    measures, orientation = Dataset(), Dataset()
    spacing = pixel_spacing(header)
    if spacing is not None:
        measures.PixelSpacing = [DSfloat(value, auto_format=True) for value in spacing]
        # A picture has none and DICOM asks for none, but highdicom reads no segmentation without: a pixel is as thick
        # as it is high.
        measures.SliceThickness = measures.PixelSpacing[0]
    orientation.ImageOrientationPatient = list(_LIKE_A_PICTURE)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    # Required to be there, if only empty, where no position in the patient is known.
    result.PatientOrientation = ""


def first_frame_of(header: Dataset) -> Dataset:
    """Returns the header of a clip as that of a single picture."""
    single = deepcopy(header)
    # highdicom looks for the geometry that other multi-frame objects have.
    single.SOPClassUID = UltrasoundImageStorage
    for name in ("NumberOfFrames", "FrameTime", "FrameTimeVector", "FrameIncrementPointer"):
        if name in single:
            delattr(single, name)
    return single


def extend_to_clip(result: Dataset, frames: NDArray[Any], header: Dataset, *, keep_empty: bool) -> None:
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
