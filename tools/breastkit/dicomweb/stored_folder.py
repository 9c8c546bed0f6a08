"""Taking DICOM objects into a folder of their own, beside the files that are only read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import DeflatedExplicitVRLittleEndian

from breastkit.atomic import atomic_path, flush_names, make_folder
from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.dicomweb.folder_index import FolderIndex, Instance, is_uid
from breastkit.errors import BreastkitError

# Failure reasons of PS3.18, table I.2-2.
PROCESSING_FAILURE = 0x0110
DUPLICATE = 0x0111
NOT_OF_THIS_STUDY = 0xA900
NOT_UNDERSTOOD = 0xC000
# Twice the pixels of the largest detectors.
_MOST_PIXELS = 100_000_000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one object.

    Attributes:
        sop_class: SOPClassUID, empty if the object has none.
        uid: SOPInstanceUID, empty if the object has none.
        stored: where it is now; None if it was refused.
        reason: the code of the failure, 0 for none.
        sentence: why it was refused.
    """

    sop_class: str = ""
    uid: str = ""
    stored: Instance | None = None
    reason: int = 0
    sentence: str = ""


class StoredFolder:
    """Takes objects into a folder, each written whole or not at all, and adds them to an index.

    Args:
        folder: where to write; made if missing.
        index: knows what there is already, in this folder and others; nothing that it knows is ever replaced.
    """

    def __init__(self, folder: str | Path, index: FolderIndex) -> None:
        self.folder, self.index = make_folder(folder).resolve(), index
        self._writing = threading.Lock()

    def store(self, objects: Sequence[bytes], *, study: str | None = None) -> list[Outcome]:
        """Stores DICOM files and returns what became of each.

        Args:
            objects: the files.
            study: StudyInstanceUID that they must have.
        """
        return [self._store(data, study) for data in objects]

    def _store(self, data: bytes, study: str | None) -> Outcome:
        # A few kilobytes of it can hold gigabytes, which pydicom would read at once.
        if DeflatedExplicitVRLittleEndian.encode() in data:
            return Outcome(reason=NOT_UNDERSTOOD, sentence="Deflated objects are not taken; send it uncompressed.")
        try:
            dataset = pydicom.dcmread(BytesIO(data))
            sop_class, uid = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
            own_study, series = str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)
            sound = all(is_uid(one) for one in (uid, series, own_study, sop_class)) and _has_sound_pixels(dataset)
        except READ_ERRORS:
            return Outcome(reason=NOT_UNDERSTOOD, sentence="What was sent is no whole DICOM file; send it again.")
        if not sound:
            return Outcome(
                reason=NOT_UNDERSTOOD, sentence="The object is truncated or its identifiers are none; export it again."
            )
        if study not in (None, own_study):
            sentence = f"{uid} belongs to another study than the one it was sent to; send it to its own."
            return Outcome(sop_class, uid, reason=NOT_OF_THIS_STUDY, sentence=sentence)
        with self._writing:
            return self._write(data, sop_class, uid, self.folder / own_study / series / f"{uid}.dcm")

    def _write(self, data: bytes, sop_class: str, uid: str, path: Path) -> Outcome:
        known = self.index.with_uid(uid)
        if known is not None or path.exists():
            place = known.path if known is not None else path
            if place == path and path.exists() and path.read_bytes() == data:
                # Sent twice: a client that lost the first answer.
                return Outcome(sop_class, uid, stored=known or self.index.add(path))
            sentence = f"{uid} is here already and is never replaced; send it under an identifier of its own."
            return Outcome(sop_class, uid, reason=DUPLICATE, sentence=sentence)
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
            flush_names(path.parent)
            return Outcome(sop_class, uid, stored=self.index.add(path))
        except (BreastkitError, OSError):
            # The reason names folders of this machine: for its log, not for a client.
            _LOG.exception("%s could not be stored", uid)
            sentence = f"{uid} could not be written here; ask whoever runs this store to look at its log."
            return Outcome(sop_class, uid, reason=PROCESSING_FAILURE, sentence=sentence)


def _has_sound_pixels(dataset: Dataset) -> bool:
    """Tells whether pictures are of a size that can be shown, and pixels that are not compressed are all there."""
    if "PixelData" not in dataset:
        return True
    if int(dataset.Rows) * int(dataset.Columns) > _MOST_PIXELS:
        return False
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return True
    return len(dataset.PixelData) >= get_expected_length(dataset)
