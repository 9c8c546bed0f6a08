"""Objects made of images: identifiers that follow from these, and dates and times that are theirs."""

from __future__ import annotations

from enum import StrEnum

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


def take_times_of(result: Dataset, header: Dataset) -> None:
    """Gives an object the date and time of the study it belongs to, so that the same input gives the same file.

    Args:
        result: the object.
        header: of an image of the study.
    """
    for equipment in result.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in equipment:
            del equipment.ContributionDateTime
    for names, value in ((_DATES, header.StudyDate or "19700101"), (_TIMES, header.StudyTime or "000000")):
        for name in names:
            if name in result:
                setattr(result, name, value)
