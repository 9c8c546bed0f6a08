"""Outputs that are written once for an ultrasound object, when all frames of a clip have been read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from breastkit.findings.study_findings import PictureFindings
from breastkit.findings.writers import Writer


class ObjectWriter(Writer[PictureFindings]):
    """Gathers the frames of one DICOM object at a time, of which `keep` says what has to stay in memory.

    Args:
        folder: where to.
    """

    takes: ClassVar[type[PictureFindings]] = PictureFindings
    of_dicom: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._frames: list[Any] = []
        self._last: tuple[Path, dict[str, str], str] | None = None

    def write(self, findings: PictureFindings, files: Mapping[str, str]) -> None:
        """Takes a frame in; that of another object has the one before written."""
        (source,) = (Path(str(each)) for each in findings.images)
        if self._last is not None and self._last[0] != source:
            self._write_gathered()
        self._last = source, dict(files), findings.uid_source
        self._frames.append(self.keep(findings))

    def finish(self, problems: Sequence[str]) -> None:
        """Writes the last object."""
        if self._last is not None:
            self._write_gathered()

    @abstractmethod
    def keep(self, findings: PictureFindings) -> Any:
        """Returns what is needed of a frame."""

    @abstractmethod
    def write_object(self, source: Path, frames: Sequence[Any], files: Mapping[str, str], uid_source: str) -> None:
        """Writes what belongs to an object.

        Args:
            source: its file.
            frames: what was kept of those that could be read.
            files: what all writers of this run write of it.
            uid_source: what identifiers follow from.
        """

    def _write_gathered(self) -> None:
        assert self._last is not None
        source, files, uid_source = self._last
        frames, self._frames, self._last = self._frames, [], None
        self.write_object(source, frames, files, uid_source)
