"""Ultrasound DICOM out: single pictures and clips, 8-bit gray, with their calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from breastkit.atomic import atomic_path

# DICOM's codes: the region is a 2D tissue picture, its axes are in centimetres.
_TISSUE_2D = (1, 1)
_CENTIMETRES = 3
_FIXED_DATE = "20200101"


def write_us_dicom(
    path: str | Path,
    frames: NDArray[Any],
    *,
    spacing: float,
    patient: str,
    uid_seed: str,
    series_number: int = 1,
    frame_time: float = 50.0,
    description: str = "Breast ultrasound phantom",
) -> Path:
    """Writes one ultrasound object: a single-frame image, or a multi-frame clip when there are several frames.

    Args:
        path: the file to write.
        frames: 8-bit gray, (frames, rows, columns) or (rows, columns).
        spacing: size of a pixel in mm, written as the region's calibration, where ultrasound keeps it.
        patient: PatientID and PatientName.
        uid_seed: identifiers are derived from it, so that the same phantom always gets the same ones; objects of one
            seed belong to one study, each series number is a series of its own.
        series_number: number of the series in its study.
        frame_time: time between frames in ms.
        description: of the series.

    Returns:
        The path.

    Raises:
        ValueError: if the frames are not 8-bit gray.
    """
    frames = np.asarray(frames)
    frames = frames[None] if frames.ndim == 2 else frames
    if frames.dtype != np.uint8 or frames.ndim != 3:
        raise ValueError(f"requires 8-bit gray frames (frames, rows, columns), got {frames.dtype} {frames.shape}")
    clip = len(frames) > 1
    dataset = Dataset()
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage if clip else UltrasoundImageStorage
    _add_identity(dataset, patient, uid_seed, series_number, description)
    _add_pixels(dataset, frames)
    _add_calibration(dataset, frames.shape[1:], spacing)
    if clip:
        dataset.NumberOfFrames = len(frames)
        dataset.FrameTime = frame_time
        dataset.FrameIncrementPointer = 0x00181063
        dataset.CineRate = max(round(1000 / frame_time), 1)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
    return Path(path)


def _add_identity(dataset: Dataset, patient: str, uid_seed: str, series_number: int, description: str) -> None:
    def uid(*parts: object) -> str:
        return generate_uid(entropy_srcs=["breastkit ultrasound", uid_seed, *map(str, parts)])

    dataset.SOPInstanceUID = uid("instance", series_number)
    dataset.StudyInstanceUID = uid("study")
    dataset.SeriesInstanceUID = uid("series", series_number)
    dataset.PatientID = patient
    dataset.PatientName = patient
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "F"
    dataset.StudyID = "1"
    dataset.StudyDescription = "Breast ultrasound"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = _FIXED_DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.Modality = "US"
    dataset.Manufacturer = "breastkit"
    dataset.ManufacturerModelName = "phantom"
    dataset.SeriesNumber = series_number
    dataset.SeriesDescription = description
    dataset.InstanceNumber = 1
    dataset.BodyPartExamined = "BREAST"
    dataset.Laterality = ""
    dataset.PatientOrientation = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "SMALL PARTS", "0001"]


def _add_pixels(dataset: Dataset, frames: NDArray[Any]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"
    pixels = frames.tobytes()
    # Values have an even length in DICOM.
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB"


def _add_calibration(dataset: Dataset, shape: tuple[int, ...], spacing: float) -> None:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType = _TISSUE_2D
    region.RegionFlags = 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = shape[1] - 1, shape[0] - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = _CENTIMETRES
    region.PhysicalDeltaX = region.PhysicalDeltaY = spacing / 10
    dataset.SequenceOfUltrasoundRegions = [region]
