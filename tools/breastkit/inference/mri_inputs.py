"""Which dynamic breast MRI studies inference is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from breastkit.dce.series import StudyPhases, find_phases, numbered_phases
from breastkit.dicom import Series, holds_dicom
from breastkit.errors import BreastkitError
from breastkit.inference.inputs import Inputs

_REMEDY = "give a folder with phases (DICOM series, or x_0000.nii.gz, x_0001.nii.gz), or a folder of such folders"


def find_studies(place: str | Path) -> Inputs:
    """Finds studies: the folder of one, or a folder of such folders, one level deep.

    A folder is a study where it holds DICOM series, in itself or its folders, or NIfTI files whose names end in
    ``_0000`` (before contrast), ``_0001`` and so on; each name before the number is then a study.

    Args:
        place: the folder.

    Raises:
        BreastkitError: if there is no study, one cannot be told from another, or its phases cannot be found.
    """
    place = Path(place).expanduser()
    if not place.is_dir():
        raise BreastkitError(f"{place} is not a folder; {_REMEDY}.")
    items, skipped = _studies_in(place)
    if not items:
        for folder in sorted(path for path in place.iterdir() if path.is_dir() and path.name[0] != "."):
            found, others = _studies_in(folder)
            items += found
            skipped += others if found else [(folder, "a folder without phases of a study")]
    if not items:
        raise BreastkitError(f"{place} holds no study; {_REMEDY}.")
    names = [item["name"] for item in items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BreastkitError(f"{place} holds two studies called {twice[0]}; rename one or run on them one by one.")
    return Inputs(items, skipped)


def _studies_in(folder: Path) -> tuple[list[dict[str, Any]], list[tuple[Path, str]]]:
    studies, skipped = numbered_phases(folder)
    if studies:
        return [_item(StudyPhases(name, paths[0], tuple(paths[1:]))) for name, paths in studies.items()], skipped
    series_folders = [path for path in (folder, *folder.iterdir()) if holds_dicom(path)]
    if not series_folders or _is_folder_of_studies(folder, series_folders):
        return [], skipped
    phases = find_phases(folder)
    return [_item(phases)], [*phases.skipped, *((folder, f"doubtful: {doubt}") for doubt in phases.doubts)]


def _is_folder_of_studies(folder: Path, series_folders: list[Path]) -> bool:
    """Tells whether DICOM files right below are whole studies of one folder each rather than series of one study."""
    from breastkit.dicom import read_folder

    below = [path for path in series_folders if path != folder]
    counts = [len(read_folder(path, recursive=False).series) for path in below]
    return folder not in series_folders and bool(counts) and min(counts) > 1


def _item(phases: StudyPhases) -> dict[str, Any]:
    return {
        "image": [one.files[0].parent if isinstance(one, Series) else one for one in phases.all[:2]],
        "name": phases.name,
        "patient_id": phases.pre.patient if isinstance(phases.pre, Series) else phases.name,
    }
