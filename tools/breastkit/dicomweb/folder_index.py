"""An index of the DICOM files of a folder, by study, series and instance, for a DICOMweb store.

dicomweb-client has a client for folders too. It leaves out every file with one value that is too long for its
representation (accession numbers often are), answers queries by modality or by a range of dates as if nothing had been
asked, knows no descriptions and cannot give out implicit VR; `tests/dicom/test_folder_index.py` tells when that has
changed. So the index is kept here: in memory, read from the headers, replaced as a whole, so that any thread may search
while another one reads the folder again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from breastkit.dicom.read_errors import READ_ERRORS
from breastkit.dicom.read_series import is_dicom
from breastkit.errors import BreastkitError
from breastkit.progress import track

STUDY_ATTRIBUTES = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription",
    "ReferringPhysicianName", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge",
    "TimezoneOffsetFromUTC",
)  # fmt: skip
SERIES_ATTRIBUTES = (
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime",
    "BodyPartExamined", "Laterality", "ProtocolName", "Manufacturer", "ManufacturerModelName", "FrameOfReferenceUID",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
)  # fmt: skip
INSTANCE_ATTRIBUTES = (
    "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ContentDate", "ContentTime", "AcquisitionDate",
    "AcquisitionTime", "ImageType", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "SliceLocation",
)  # fmt: skip
_INDEXED = (*STUDY_ATTRIBUTES, *SERIES_ATTRIBUTES, *INSTANCE_ATTRIBUTES)
# Digits and single points only, so that an identifier is safe in an address and as the name of a file.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LOG = logging.getLogger(__name__)
# Seconds; the few files that a client lends are read without a bar in the server's log.
_PATIENCE = 1.0


@dataclass(frozen=True)
class Instance:
    """One file of the index.

    Attributes:
        path: the file.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        uid: SOPInstanceUID.
        sop_class: SOPClassUID.
        transfer_syntax: of the file.
        attributes: the indexed part of the header as DICOM JSON.
        stamp: what changes when the file does.
    """

    path: Path
    study: str
    series: str
    uid: str
    sop_class: str
    transfer_syntax: str
    attributes: Mapping[str, Any]
    stamp: tuple[int, int] = field(repr=False, default=(0, 0))


@dataclass(frozen=True)
class _Snapshot:
    """One state of the index; never changed, only replaced."""

    by_path: Mapping[Path, Instance]
    by_uid: Mapping[str, Instance]
    other_files: Mapping[Path, tuple[int, int]]
    read_at: float


@cache
def tag_of(keyword: str) -> str:
    """Returns the tag of an attribute as DICOM JSON writes it: ``00100020`` for PatientID."""
    return f"{tag_for_keyword(keyword):08X}"


def is_uid(text: str) -> bool:
    """Tells whether a text is a DICOM identifier."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


class FolderIndex:
    """Knows the DICOM files of folders. Safe to use from any number of threads.

    Args:
        folders: where files lie; files under two of them count once.
        refresh_seconds: how long an index is trusted before `refresh_if_old` looks for changed files.

    Raises:
        BreastkitError: if a folder is missing.
    """

    def __init__(self, folders: Iterable[str | Path], *, refresh_seconds: float = 10.0) -> None:
        self.folders = tuple(Path(folder).resolve() for folder in folders)
        for folder in self.folders:
            if not folder.is_dir():
                raise BreastkitError(f"{folder} is not a folder; name a folder of DICOM files.")
        self.refresh_seconds = refresh_seconds
        self._writing = threading.Lock()
        self._snapshot = _Snapshot({}, {}, {}, 0.0)
        self.refresh(show_progress=True)

    def __len__(self) -> int:
        return len(self._snapshot.by_uid)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._snapshot.by_uid.values())

    def find(self, study: str, series: str | None = None, uid: str | None = None) -> list[Instance]:
        """Returns the instances of a study, a series, or the one with this identifier; empty if there is none."""
        one_of_uid = self._snapshot.by_uid.get(uid) if uid else None
        found = [one_of_uid] if one_of_uid else [] if uid else list(self)
        return [one for one in found if one.study == study and series in (None, one.series)]

    def with_uid(self, uid: str) -> Instance | None:
        """Returns the instance with this SOPInstanceUID."""
        return self._snapshot.by_uid.get(uid)

    def refresh_if_old(self) -> None:
        """Looks for new, changed and vanished files if the index is older than it may be."""
        if time.monotonic() - self._snapshot.read_at > self.refresh_seconds:
            self.refresh()

    def refresh(self, *, show_progress: bool = False) -> None:
        """Looks for new, changed and vanished files; headers that were read are not read again."""
        with self._writing:
            known = self._snapshot
            stamps = dict(self._files())
            fresh = [
                path
                for path, stamp in stamps.items()
                if known.other_files.get(path) != stamp
                and (path not in known.by_path or known.by_path[path].stamp != stamp)
            ]
            by_path = {path: one for path, one in known.by_path.items() if path in stamps and one.stamp == stamps[path]}
            other = {path: stamp for path, stamp in known.other_files.items() if stamps.get(path) == stamp}
            for path in track(fresh, "Reading DICOM headers", unit="file", delay=_PATIENCE) if show_progress else fresh:
                instance = _read_instance(path, stamps[path])
                if instance is None:
                    other[path] = stamps[path]
                else:
                    by_path[path] = instance
            self._replace(by_path, other)

    def add(self, path: str | Path) -> Instance:
        """Adds one file that was just written.

        Raises:
            BreastkitError: if it cannot be indexed.
        """
        path = Path(path).resolve()
        with self._writing:
            instance = _read_instance(path, _stamp(path.stat()))
            if instance is None:
                raise BreastkitError(f"{path} is no DICOM object of a patient; store images, segmentations or reports.")
            self._replace({**self._snapshot.by_path, path: instance}, self._snapshot.other_files, aged=True)
        return instance

    def _replace(
        self, by_path: Mapping[Path, Instance], other: Mapping[Path, tuple[int, int]], *, aged: bool = False
    ) -> None:
        by_uid: dict[str, Instance] = {}
        for path in sorted(by_path):
            # Copies of one object count once.
            by_uid.setdefault(by_path[path].uid, by_path[path])
        self._snapshot = _Snapshot(by_path, by_uid, other, self._snapshot.read_at if aged else time.monotonic())

    def _files(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for folder in self.folders:
            for place, folders, names in os.walk(folder):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in names:
                    path = Path(place, name)
                    if name.startswith(".") or name == "DICOMDIR":
                        continue
                    # A link must not lead out of what was opened for reading.
                    if path.is_symlink() and not any(path.resolve().is_relative_to(f) for f in self.folders):
                        continue
                    try:
                        yield path, _stamp(path.stat())
                    except OSError:
                        continue


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_size


def _read_instance(path: Path, stamp: tuple[int, int]) -> Instance | None:
    try:
        if not is_dicom(path):
            return None
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["TransferSyntaxUID", *_INDEXED])
        study, series, uid = (str(header.get(f"{name}InstanceUID") or "") for name in ("Study", "Series", "SOP"))
        if not all(is_uid(one) for one in (study, series, uid)) or not header.get("SOPClassUID"):
            _LOG.warning("%s has no valid identifiers and is left out", path.name)
            return None
        syntax = UID(str(header.file_meta.TransferSyntaxUID))
        if syntax.is_private or not syntax.is_transfer_syntax:
            _LOG.warning("%s is encoded in a way of its own and is left out", path.name)
            return None
        return Instance(
            path=path,
            study=study,
            series=series,
            uid=uid,
            sop_class=str(header.SOPClassUID),
            transfer_syntax=str(syntax),
            attributes=_attributes(header),
            stamp=stamp,
        )
    except READ_ERRORS:
        _LOG.warning("%s is damaged and left out", path.name)
        return None


def _attributes(header: Dataset) -> dict[str, Any]:
    """Returns what is indexed as DICOM JSON; a value that DICOM does not allow costs that value, not the file."""
    found: dict[str, Any] = {}
    for keyword in _INDEXED:
        if keyword in header:
            try:
                found[tag_of(keyword)] = _shared(json.dumps(header[keyword].to_json_dict(None, 0)))
            except READ_ERRORS:
                continue
    return found


@lru_cache(maxsize=4096)
def _shared(element: str) -> dict[str, Any]:
    """Returns an element of DICOM JSON; equal ones are one object, as hundreds of files of a series say the same."""
    found: dict[str, Any] = json.loads(element)
    return found
