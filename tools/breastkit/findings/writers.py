"""Writers of findings: what one is, which there are, and the ones a command was asked for."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from breastkit import findings as package
from breastkit.atomic import make_folder
from breastkit.errors import UsageError
from breastkit.findings.dicom_images import with_dicom_images
from breastkit.findings.study_findings import StudyFindings

Found = TypeVar("Found", bound=StudyFindings)


class Writer(ABC, Generic[Found]):
    """Writes one kind of output of every study of a run.

    A class in a module of `breastkit.findings` is offered by the commands whose findings it takes; nothing else has to
    know it.

    Args:
        folder: where to.

    Attributes:
        format: what ``--formats`` calls it.
        takes: the findings it can write; `StudyFindings` for both commands.
        summary: the file a user would open first, where it writes one for all studies.
        of_dicom: whether it refers to DICOM images; of other input they are made, where it was asked for by name.
        on_request: whether it is written only where it was asked for by name.
        of_probabilities: whether it says how sure networks are of every voxel, which pipelines keep for it alone.
        needs: formats that have to be written before, and are written with it.
    """

    format: ClassVar[str]
    takes: ClassVar[type[StudyFindings]]
    summary: ClassVar[str] = ""
    of_dicom: ClassVar[bool] = False
    on_request: ClassVar[bool] = False
    of_probabilities: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, findings: Found) -> dict[str, str]:
        """Returns the names of the files it will write of one study, by what they show, for others to refer to."""
        return {}

    @abstractmethod
    def write(self, findings: Found, files: Mapping[str, str]) -> None:
        """Writes what belongs to one study.

        Args:
            findings: of the study.
            files: what all writers of this run write of it; see `files`.
        """

    def finish(self, problems: Sequence[str]) -> None:
        """Writes what belongs to all studies.

        Args:
            problems: sentences on the inputs that could not be used.
        """


def writers_of(kind: type[StudyFindings]) -> dict[str, type[Writer[StudyFindings]]]:
    """Returns the writers that take a kind of findings, by their formats.

    Raises:
        ValueError: if two of them have one name.
    """
    found: dict[str, type[Writer[StudyFindings]]] = {}
    for entry in pkgutil.iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{entry.name}")
        for writer in vars(module).values():
            if not (inspect.isclass(writer) and issubclass(writer, Writer) and writer.__module__ == module.__name__):
                continue
            if inspect.isabstract(writer) or not issubclass(kind, writer.takes):
                continue
            if writer.format in found:
                raise ValueError(f"{found[writer.format].__module__} and {module.__name__} both write {writer.format}")
            found[writer.format] = writer
    return dict(sorted(found.items()))


def chosen_writers(kind: type[StudyFindings], formats: str | None = None) -> list[type[Writer[StudyFindings]]]:
    """Returns the writers that a command was asked for.

    Args:
        kind: of its findings.
        formats: names separated by commas; without, all there are but those on request.

    Raises:
        UsageError: if there is no such format.
    """
    offered = writers_of(kind)
    usual = [name for name, writer in offered.items() if not writer.on_request]
    names = usual if formats is None else list(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in names:
        if name not in offered:
            near = difflib.get_close_matches(name, offered, n=1)
            meant = f"; did you mean {near[0]}?" if near else "."
            raise UsageError(f"--formats takes {', '.join(offered)}, separated by commas, not {name!r}{meant}")
    needed = (one for name in names for one in (*offered[name].needs, name))
    return [offered[name] for name in dict.fromkeys(needed)]


def with_json(formats: str | None) -> str | None:
    """Returns what a command was asked to write, ``findings.json`` among it."""
    return formats if formats is None or "json" in formats.split(",") else f"{formats},json"


class Outputs:
    """The folder of a run with the writers that fill it.

    Args:
        folder: made if it is not there.
        writers: see `chosen_writers`.
        make_dicom: whether images are made of input that is no DICOM for the outputs that refer to some; such input
            goes without these outputs otherwise.

    Raises:
        BreastkitError: if the folder cannot be made.
    """

    def __init__(
        self, folder: str | Path, writers: Sequence[type[Writer[StudyFindings]]], *, make_dicom: bool = False
    ) -> None:
        self.folder = make_folder(folder)
        self._writers = [writer(self.folder) for writer in writers]
        self._make_dicom = make_dicom and any(writer.of_dicom for writer in writers)

    def write(self, findings: StudyFindings) -> None:
        """Has every writer write one study.

        Raises:
            BreastkitError: if no DICOM images can be made of it.
        """
        if self._make_dicom and not findings.is_dicom:
            findings = with_dicom_images(findings, self.folder)
        files: dict[str, str] = {}
        able = [writer for writer in self._writers if findings.is_dicom or not writer.of_dicom]
        for writer in able:
            files |= writer.files(findings)
        for writer in able:
            writer.write(findings, files)

    def finish(self, problems: Sequence[str] = ()) -> Path:
        """Has every writer write what belongs to all studies, and returns what a user would open first."""
        for writer in self._writers:
            writer.finish(problems)
        # A page says more than a table.
        summaries = sorted((writer.summary for writer in self._writers if writer.summary), key=_reports_first)
        return self.folder / summaries[0] if summaries else self.folder


def _reports_first(name: str) -> int:
    return next((place for place, suffix in enumerate((".html", ".pdf")) if name.endswith(suffix)), 2)
