"""Objects made of images: identifiers that follow from these, and dates and times that are theirs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

_DATES = ("ContentDate", "SeriesDate", "InstanceCreationDate")
_TIMES = ("ContentTime", "SeriesTime", "InstanceCreationTime")


class Side(StrEnum):
    """A side of the patient's body, never of a picture."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def code(self) -> Code:
        """In SNOMED CT."""
        code: Code = codes.SCT.Left if self is Side.LEFT else codes.SCT.Right
        return code


class DerivedUids:
    """Identifiers of an object: made up, or following from a text and the images it was made of.

    Args:
        text: what made it, for example hashes of weights; None for identifiers that are made up.
        header: of the first of its images.
    """

    def __init__(self, text: str | None, header: Dataset) -> None:
        self._sources = None if text is None else [text, str(header.SOPInstanceUID)]

    def make(self, *parts: str) -> UID:
        """Returns the identifier of a part of the object."""
        return generate_uid(entropy_srcs=None if self._sources is None else [*self._sources, *parts])


def study_of(header: Dataset) -> dict[str, Any]:
    """Returns patient and study of an image, as highdicom's objects are told them."""
    return {
        "study_instance_uid": header.StudyInstanceUID,
        "patient_id": header.PatientID,
        "patient_name": header.PatientName,
        "patient_birth_date": header.PatientBirthDate,
        "patient_sex": header.PatientSex,
        "accession_number": header.AccessionNumber,
        "study_id": header.StudyID,
        "study_date": header.StudyDate,
        "study_time": header.StudyTime,
        "referring_physician_name": header.ReferringPhysicianName,
    }


def forget_times(result: Dataset) -> None:
    """Takes the clock's date and time out of an object of which nothing says when it was made."""
    _forget_contribution(result)
    for name in (*_DATES, *_TIMES):
        if name in result:
            delattr(result, name)


def _forget_contribution(result: Dataset) -> None:
    for equipment in result.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in equipment:
            del equipment.ContributionDateTime


def take_times_of(result: Dataset, header: Dataset) -> None:
    """Gives an object the date and time of the study it belongs to, so that the same input gives the same file.

    Args:
        result: the object.
        header: of an image of the study.
    """
    _forget_contribution(result)
    for names, value in ((_DATES, header.StudyDate or "19700101"), (_TIMES, header.StudyTime or "000000")):
        for name in names:
            if name in result:
                setattr(result, name, value)
