"""What a pipeline exchanges with an archive (PACS): a study is fetched from it, what was made of it is sent there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastkit.atomic import write_json
from breastkit.dicomweb.archive import Archive, Sent, checked_address
from breastkit.errors import BreastkitError, PartlyDoneError, UsageError
from breastkit.findings.run_record import RUN_RECORD, read_run_record
from breastkit.temporary import temporary_folder

_STUDIES = "/studies/"


def study_address(archive: str, uid: str) -> str:
    """Returns what a study of an archive is called here: its address, as DICOMweb forms it.

    Raises:
        UsageError: if the address of the archive is none.
    """
    return f"{checked_address(archive)}{_STUDIES}{uid}"


@contextmanager
def study_at_hand(study: str, *, step: Callable[[str], AbstractContextManager[Any]] = nullcontext) -> Iterator[str]:
    """Yields a study as a path: that of a study of an archive leads to a copy which is gone at the end.

    Args:
        study: a path, or what `study_address` gives.
        step: measures a step of the given name.

    Raises:
        BreastkitError: if the archive does not give it.
    """
    archive, separator, uid = study.rpartition(_STUDIES)
    if not separator or not archive.startswith(("http://", "https://")):
        yield study
        return
    with temporary_folder("fetched") as folder:
        place = folder / uid
        place.mkdir()
        try:
            with step("fetch"):
                Archive(archive).fetch_study(uid, place)
            yield str(place)
        except BreastkitError as error:
            # Where its copy lay is nothing a reader knows.
            raise type(error)(str(error).replace(str(place), study)) from error


@dataclass(frozen=True)
class Receipt:
    """What an archive made of the objects of a run.

    Attributes:
        archive: its address.
        objects: those that were sent, by name.
        folder: where the objects lie.
        made: how many there are.
        problem: why it has not got all of them, without a full stop; empty where it has.
    """

    archive: str
    objects: tuple[Sent, ...]
    folder: Path
    made: int
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns it as a record holds it."""
        return {"archive": self.archive, "problem": self.problem, "objects": [vars(one) for one in self.objects]}

    def raise_problem(self) -> None:
        """Says what the archive has not got.

        Raises:
            PartlyDoneError: if there is such an object; what was made is kept all the same.
        """
        stored = sum(not one.problem for one in self.objects)
        if self.problem and self.made:
            raise PartlyDoneError(
                f"{self.problem}; {stored} of {self.made} objects are stored there, all are kept in {self.folder}, "
                "and the same command sends them again."
            )
        if self.problem:
            raise PartlyDoneError(f"{self.problem}; run on DICOM, and with the formats seg and sr.")


def push_objects(out: Path, archive: str) -> Receipt:
    """Stores the DICOM objects of a run in an archive.

    Args:
        out: what the run wrote.
        archive: address of its DICOMweb service.

    Raises:
        UsageError: if the address is none.
    """
    place, sent, trouble = Archive(archive), list[Sent](), ""
    folder = out / "dicom"
    # Images that were made of other input lie below.
    files = sorted(folder.rglob("*.dcm"))
    for path in files:
        try:
            sent.append(place.store(path))
        except BreastkitError as error:
            # The next would fare no better, and take as long.
            trouble = str(error).rstrip(".")
            break
    refused = next((one for one in sent if one.problem), None)
    if refused and not trouble:
        trouble = f"{place.address} did not take {refused.file}: {refused.problem}"
    if not files:
        trouble = f"There is no DICOM object to store in {place.address}"
    return Receipt(place.address, tuple(sent), folder, len(files), trouble)


def lacks_push_alone(out: Path) -> bool:
    """Tells whether all of a run is done but that an archive has not got all of its objects."""
    record = read_run_record(out)
    pushed = record.get("pushed") or {}
    return bool(pushed.get("problem")) and not record.get("problems")


def push_again(out: Path, archive: str) -> None:
    """Stores the objects of a run once more, and keeps in its record what became of them.

    Raises:
        PartlyDoneError: if the archive has not got all of them.
    """
    receipt = push_objects(out, archive)
    write_json(out / RUN_RECORD, {**read_run_record(out), "pushed": receipt.as_json()})
    receipt.raise_problem()


def chosen_study(study: str | None, pull: str | None) -> str | None:
    """Returns the study that a command was given, as its address where it is to be pulled.

    Args:
        study: a path, or a StudyInstanceUID.
        pull: address of the archive it is in.

    Raises:
        UsageError: if an archive is named and no study, or its address is none.
    """
    if pull is None:
        return study
    if study is None:
        raise UsageError("--pull fetches one study; name its StudyInstanceUID with --study, or several with --cases.")
    return study_address(pull, study)
