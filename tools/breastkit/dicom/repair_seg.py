"""Segmentations as viewers write them, made to say of the images they were drawn on what DICOM asks for."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    MRImageStorage,
    SegmentationStorage,
    UltrasoundImageStorage,
)

from breastkit.dicom.read_errors import READ_ERRORS

_OF_ONE_FRAME = (MRImageStorage, CTImageStorage, UltrasoundImageStorage)


def repaired_segmentation(data: bytes) -> bytes:
    """Returns a segmentation with whole references to its images: their class, why they are named, how it came about.

    OHIF leaves these out of every frame, and names a frame of images that have one alone. Masks, names and identifiers
    stay; so does everything else that is stored, what cannot be read among it.

    Args:
        data: a DICOM file.
    """
    # A few kilobytes that are deflated can hold gigabytes, and are refused where they are stored.
    if str(SegmentationStorage).encode() not in data or DeflatedExplicitVRLittleEndian.encode() in data:
        return data
    try:
        dataset = pydicom.dcmread(BytesIO(data))
        if dataset.SOPClassUID != SegmentationStorage or not _repair(dataset):
            return data
        written = BytesIO()
        dataset.save_as(written, enforce_file_format=True)
    except READ_ERRORS:
        # What is to become of it is decided where it is stored.
        return data
    return written.getvalue()


def _repair(dataset: Dataset) -> bool:
    """Completes the references of a segmentation, and tells whether there was anything to complete."""
    classes = dict(_referred(dataset))
    changed = False
    for frame in dataset.get("PerFrameFunctionalGroupsSequence", ()):
        for derivation in frame.get("DerivationImageSequence", ()):
            changed |= _give(derivation, "DerivationCodeSequence", codes.DCM.Segmentation)
            for source in derivation.get("SourceImageSequence", ()):
                changed |= _give(
                    source,
                    "PurposeOfReferenceCodeSequence",
                    codes.DCM.SourceImageForImageProcessingOperation,
                )
                of_image = classes.get(str(source.get("ReferencedSOPInstanceUID")))
                if of_image and not source.get("ReferencedSOPClassUID"):
                    source.ReferencedSOPClassUID = of_image
                    changed = True
                if "ReferencedFrameNumber" in source and source.get("ReferencedSOPClassUID") in _OF_ONE_FRAME:
                    del source.ReferencedFrameNumber
                    changed = True
    return changed


def _referred(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yields the instances that a segmentation says it refers to, each with its class."""
    for series in dataset.get("ReferencedSeriesSequence", ()):
        for instance in series.get("ReferencedInstanceSequence", ()):
            yield str(instance.ReferencedSOPInstanceUID), str(instance.ReferencedSOPClassUID)


def _give(item: Dataset, name: str, code: Code) -> bool:
    if item.get(name):
        return False
    coded = Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = code.value, code.scheme_designator, code.meaning
    setattr(item, name, [coded])
    return True
