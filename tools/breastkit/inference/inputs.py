"""What inference is given: one file, one DICOM series folder, or a folder of these, one level deep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastkit.datasets.tissue import patient_id
from breastkit.dicom import holds_dicom, is_dicom, read_folder, why_no_ultrasound
from breastkit.errors import BreastkitError
from breastkit.images import DICOM_SUFFIXES, VOLUME_SUFFIXES, stem


@dataclass(frozen=True)
class Inputs:
    """The inputs found and the things left aside.

    Attributes:
        items: one dict per input: ``image`` (path), ``name`` (what its outputs begin with), ``patient_id``.
        skipped: path and reason of what was left aside.
    """

    items: list[dict[str, Any]]
    skipped: list[tuple[Path, str]]


def find_inputs(
    place: str | Path,
    *,
    suffixes: Sequence[str] = VOLUME_SUFFIXES,
    series: bool = True,
    ultrasound: bool = False,
    outputs: Sequence[str] = (),
) -> Inputs:
    """Finds the scans or pictures to run on.

    Args:
        place: a file, a DICOM series folder, or a folder of these.
        suffixes: file names that are images.
        series: whether folders of DICOM files are images too.
        ultrasound: whether single DICOM files of ultrasound are images too.
        outputs: what the bundle appends to a scan's name for its own outputs (``_breast``); a file so named beside its
            scan is an output of an earlier run and left aside.

    Raises:
        BreastkitError: if there is nothing to run on, or two inputs would write files of the same name.
    """
    place = Path(place).expanduser()
    if not place.exists():
        raise BreastkitError(f"{place} does not exist; {_remedy(series)}.")
    if place.is_file():
        if not _is_image(place, suffixes, ultrasound):
            kinds = [*suffixes, "ultrasound DICOM"] if ultrasound else suffixes
            raise BreastkitError(f"{place} is no image of a kind this bundle reads ({', '.join(kinds)}).")
        return Inputs([_item(place)], [])
    if series and holds_dicom(place):
        return Inputs([_item(place)], [])
    found, skipped = _sort_out(place, suffixes, series, ultrasound, outputs)
    if not found:
        aside = f" ({skipped[0][0].name}: {skipped[0][1]})" if skipped else ""
        raise BreastkitError(f"{place} holds nothing to run on{aside}; {_remedy(series)}.")
    _refuse_same_names(found)
    return Inputs([_item(path) for path in found], skipped)


def _remedy(series: bool) -> str:
    if series:
        return "name a scan, a DICOM series folder or a folder of these"
    return "name a picture or a folder with pictures directly in it"


def _sort_out(
    place: Path, suffixes: Sequence[str], series: bool, ultrasound: bool, outputs: Sequence[str]
) -> tuple[list[Path], list[tuple[Path, str]]]:
    found, skipped = [], []
    entries = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    names = {stem(path) for path in entries}
    for path in entries:
        if path.is_dir():
            reason = _why_no_series(path) if series else "a folder"
        elif not _is_image(path, suffixes, ultrasound):
            reason = "not an image"
        elif "_mask" in stem(path):
            reason = "a mask, by its name"
        elif any(stem(path).endswith(end) and stem(path).removesuffix(end) in names for end in outputs):
            reason = "an output of an earlier run, by its name"
        else:
            reason = _why_no_frames(path) if ultrasound and is_dicom(path) else None
        if reason is None:
            found.append(path)
        else:
            skipped.append((path, reason))
    return found, skipped


def _why_no_series(folder: Path) -> str | None:
    if not holds_dicom(folder):
        return "a folder without DICOM files"
    try:
        contents = read_folder(folder, recursive=False)
    except BreastkitError:
        # It is an input, but a bad one: the run reports it and goes on with the others.
        return None
    return None if contents.series else contents.skipped[0][1]


def _why_no_frames(path: Path) -> str | None:
    try:
        return why_no_ultrasound(path)
    except BreastkitError:
        # As a bad series: the run reports it.
        return None


def _is_image(path: Path, suffixes: Sequence[str], ultrasound: bool) -> bool:
    if path.name.lower().endswith(tuple(suffixes)):
        return True
    # Many machines export DICOM without any suffix.
    return ultrasound and (path.name.lower().endswith(DICOM_SUFFIXES) or is_dicom(path))


def _refuse_same_names(paths: list[Path]) -> None:
    counts = Counter(stem(path) for path in paths)
    for name, count in counts.items():
        if count > 1:
            twins = " and ".join(path.name for path in paths if stem(path) == name)
            raise BreastkitError(f"{twins} in {paths[0].parent} would write outputs of the same name; rename one.")


def _item(path: Path) -> dict[str, str]:
    # A link's own name counts: it names the outputs, and it is the one that was checked to be unique.
    path = path.absolute() if path.is_symlink() else path.resolve()
    name = stem(path)
    patient = ""
    if path.is_dir():
        try:
            series = read_folder(path, recursive=False).series
            patient = series[0].patient if series else ""
        except BreastkitError:
            pass  # reading it for the run gives the sentence
    return {"image": str(path), "name": name, "patient_id": patient_id(patient or name)}
