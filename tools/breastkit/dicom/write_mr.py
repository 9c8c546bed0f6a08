"""MR series out: a volume with its affine as single-frame DICOM images, one file a slice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from breastkit.atomic import atomic_folder
from breastkit.errors import BreastkitError

_MANUFACTURER = "breastkit"
_BEGIN = datetime(2020, 1, 1, 9)
# Of images that no scanner gave: what has to be there, if only empty, and what has not.
_EMPTIED = (
    "StudyDate", "StudyTime", "PatientSex", "ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime",
    "EchoTrainLength", "PatientPosition",
)  # fmt: skip
_TAKEN_OUT = (
    "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime", "FlipAngle",
    "MagneticFieldStrength", "TriggerTime",
)  # fmt: skip


@dataclass(frozen=True)
class MrStudy:
    """What the series of one MR study share.

    Attributes:
        patient_id: PatientID, also the name.
        uid_source: every UID follows from it, so that the same study written twice is the same study.
        description: StudyDescription.
        begin: start of the study.
        body_part: BodyPartExamined.
        age_years: of the patient, left out if None.
        fat_suppressed: whether fat is suppressed, as ScanOptions and SequenceVariant say.
        repetition_ms: RepetitionTime.
        echo_ms: EchoTime.
        flip_degrees: FlipAngle.
        field_tesla: MagneticFieldStrength.
        contrast_agent: ContrastBolusAgent of the series with contrast.
        derived_from: what images are made of that no scanner gave; they tell nothing of how they were acquired then.
    """

    patient_id: str
    uid_source: str
    description: str = "Breast MRI"
    begin: datetime = _BEGIN
    body_part: str = "BREAST"
    age_years: int | None = None
    fat_suppressed: bool = True
    repetition_ms: float = 4.1
    echo_ms: float = 1.4
    flip_degrees: float = 12.0
    field_tesla: float = 1.5
    contrast_agent: str = "Gadolinium"
    derived_from: str = ""

    def uid(self, *parts: str | int) -> UID:
        """Returns the UID that belongs to a part of this study."""
        return generate_uid(entropy_srcs=[self.uid_source, *map(str, parts)])


def write_mr_series(
    folder: str | Path,
    volume: NDArray[Any],
    affine: NDArray[Any],
    study: MrStudy,
    *,
    number: int,
    description: str,
    start_s: float = 0.0,
    contrast: bool = False,
) -> Path:
    """Writes a volume as one series of MR images, `0001.dcm` for the first slice.

    Columns run along the first array axis, rows along the second and InstanceNumber along the third, so that reading
    it back gives the same array and the same affine.

    Args:
        folder: of the series; it must not exist or be empty.
        volume: (i, j, k) of whole numbers that fit int16.
        affine: 4x4 voxel-to-world matrix in mm, RAS+; its axes must be perpendicular.
        study: what this series shares with the others of its study.
        number: SeriesNumber.
        description: SeriesDescription.
        start_s: begin of the acquisition in seconds after that of the study.
        contrast: whether contrast has been given.

    Returns:
        The folder.

    Raises:
        BreastkitError: if the volume has no place in DICOM or the folder cannot be written.
    """
    volume = np.asarray(volume)
    if volume.ndim != 3 or volume.dtype.kind not in "iu" or volume.min() < -32768 or volume.max() > 32767:
        raise BreastkitError(f"{folder} needs a 3D volume of 16-bit whole numbers, got {volume.ndim}D {volume.dtype}.")
    geometry = Geometry.of(affine, Path(folder))
    with atomic_folder(folder) as temporary:
        for k in range(volume.shape[2]):
            image = _image(study, number, description, start_s, contrast)
            place_slice(image, geometry, k)
            fill_pixels(image, volume[:, :, k].T)
            image.InstanceNumber = k + 1
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = study.uid(number, k)
            image.save_as(temporary / f"{k + 1:04d}.dcm", enforce_file_format=True)
    return Path(folder)


@dataclass(frozen=True)
class Geometry:
    """The axes of a volume in DICOM's world, which points to the left and the back where NIfTI's points opposite."""

    across: NDArray[Any]
    down: NDArray[Any]
    through: NDArray[Any]
    origin: NDArray[Any]

    @classmethod
    def of(cls, affine: NDArray[Any], folder: Path) -> Geometry:
        """Returns the axes of a volume.

        Args:
            affine: RAS+.
            folder: where it is to be written, for the sentence.

        Raises:
            BreastkitError: if they are not perpendicular.
        """
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, dtype=np.float64)
        lengths = np.linalg.norm(lps[:3, :3], axis=0)
        directions = lps[:3, :3] / np.where(lengths > 0, lengths, 1)
        if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
            raise BreastkitError(
                f"{folder} cannot be DICOM: the axes of the volume are not perpendicular; resample it."
            )
        return cls(lps[:3, 0], lps[:3, 1], lps[:3, 2], lps[:3, 3])


def _image(study: MrStudy, number: int, description: str, start_s: float, contrast: bool) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    image.SOPClassUID = MRImageStorage
    began, now = study.begin, study.begin + timedelta(seconds=float(start_s))
    image.StudyDate = began.strftime("%Y%m%d")
    image.StudyTime = began.strftime("%H%M%S.%f")
    for moment in ("Series", "Acquisition", "Content"):
        setattr(image, f"{moment}Date", now.strftime("%Y%m%d"))
        setattr(image, f"{moment}Time", now.strftime("%H%M%S.%f"))
    image.AccessionNumber = ""
    image.Modality = "MR"
    image.Manufacturer = _MANUFACTURER
    image.ReferringPhysicianName = ""
    image.StudyDescription = study.description
    image.SeriesDescription = description
    image.PatientName = image.PatientID = study.patient_id
    image.PatientBirthDate = ""
    image.PatientSex = "F"
    if study.age_years is not None:
        image.PatientAge = f"{study.age_years:03d}Y"
    image.BodyPartExamined = study.body_part
    image.PatientPosition = "HFP"
    image.StudyInstanceUID = study.uid()
    image.SeriesInstanceUID = study.uid(number)
    image.FrameOfReferenceUID = study.uid("frame of reference")
    image.PositionReferenceIndicator = ""
    image.Laterality = ""
    image.StudyID = "1"
    image.SeriesNumber = number
    image.AcquisitionNumber = number
    _sequence(image, study, start_s, contrast)
    if study.derived_from:
        _forget_acquisition(image, study.derived_from)
    return image


def _forget_acquisition(image: Dataset, source: str) -> None:
    """Takes out what a scanner would have told: dates, times and how the images were acquired."""
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    image.DerivationDescription = f"Made of {source}"
    image.ScanningSequence, image.SequenceVariant = "RM", "NONE"
    for name in _EMPTIED:
        setattr(image, name, "")
    for name in _TAKEN_OUT:
        del image[name]


def _sequence(image: Dataset, study: MrStudy, start_s: float, contrast: bool) -> None:
    image.ScanningSequence = "GR"
    image.SequenceVariant = "SP"
    image.ScanOptions = "FS" if study.fat_suppressed else ""
    image.MRAcquisitionType = "3D"
    image.RepetitionTime = study.repetition_ms
    image.EchoTime = study.echo_ms
    image.EchoTrainLength = 1
    image.FlipAngle = study.flip_degrees
    image.MagneticFieldStrength = study.field_tesla
    image.TriggerTime = round(1000 * float(start_s), 3)
    if contrast:
        image.ContrastBolusAgent = study.contrast_agent


def place_slice(image: Dataset, geometry: Geometry, k: int) -> None:
    """Says in a header where a slice of a volume lies."""
    lengths = [float(np.linalg.norm(v)) for v in (geometry.across, geometry.down, geometry.through)]
    directions = (*(geometry.across / lengths[0]), *(geometry.down / lengths[1]))
    image.PixelSpacing = [_decimal(lengths[1]), _decimal(lengths[0])]
    image.SliceThickness = image.SpacingBetweenSlices = _decimal(lengths[2])
    image.ImageOrientationPatient = [_decimal(v) for v in directions]
    position = geometry.origin + k * geometry.through
    image.ImagePositionPatient = [_decimal(v) for v in position]
    normal = np.cross(geometry.across, geometry.down) / (lengths[0] * lengths[1])
    image.SliceLocation = _decimal(float(position @ normal))


def _decimal(value: float) -> str:
    """Writes a number in the sixteen characters DICOM has for it."""
    for digits in range(12, 0, -1):
        text = f"{value + 0.0:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.0f}"


def fill_pixels(image: Dataset, pixels: NDArray[Any]) -> None:
    """Puts whole numbers into an image, [row, column], with a window that shows most of them."""
    pixels = np.ascontiguousarray(pixels, dtype=np.int16)
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1
    low, high = np.percentile(pixels, [1, 99])
    image.WindowCenter = round(float(low + high) / 2, 1)
    image.WindowWidth = round(max(1.0, float(high - low)), 1)
    image.SmallestImagePixelValue, image.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
    image.PixelData = pixels.astype("<i2").tobytes()
