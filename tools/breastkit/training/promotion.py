"""Which weights of a bundle are in use: those it ships, or a later version that was promoted; every version is kept.

``FOLDER/BUNDLE/000001/model.pt`` and ``model.json`` are versions, from 1; ``FOLDER/BUNDLE/current.json`` says which is
in use. Version 0 is what the bundle ships. A version is copied whole before it becomes the current one, so that a
process killed at any moment leaves the one before.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from breastkit.atomic import atomic_folder, make_folder, remove_leftovers, write_json
from breastkit.bundle import bundle_folder
from breastkit.errors import BreastkitError
from breastkit.training.weights import load_weights, read_model_json

PROMOTED_FOLDER = "work/models"
_CURRENT = "current.json"
_COPIES_WITHIN = 600.0


def weights_in_use(bundle: str | Path, *, models: str | Path = PROMOTED_FOLDER) -> Path:
    """Returns the weights that a bundle runs with.

    Args:
        bundle: its folder.
        models: where promoted versions are kept.
    """
    bundle = Path(bundle)
    return version_weights(bundle, _current(Path(models) / bundle.name), models=models)


def version_weights(bundle: str | Path, number: int, *, models: str | Path = PROMOTED_FOLDER) -> Path:
    """Returns the weights of a version of a bundle, 0 for what it ships.

    Args:
        bundle: its folder.
        number: of the version.
        models: where promoted versions are kept.
    """
    bundle = Path(bundle)
    folder = Path(models) / bundle.name / f"{number:06d}" if number else bundle / "models"
    return folder / "model.pt"


def promote(
    bundle: str | Path, candidate: str | Path, *, figures: dict[str, Any], models: str | Path = PROMOTED_FOLDER
) -> int:
    """Makes weights the next version of a bundle and the one in use.

    Args:
        bundle: its folder.
        candidate: the folder with ``model.pt`` and ``model.json``.
        figures: what it and the version before it reached.
        models: where promoted versions are kept.

    Returns:
        The number of the version.

    Raises:
        BreastkitError: if the candidate is missing or damaged, or the folder cannot be written.
    """
    candidate, place = Path(candidate), Path(models) / Path(bundle).name
    load_weights(candidate)
    # What a process that was killed while it copied has left; another one that copies now is not done within that time.
    remove_leftovers(make_folder(place), untouched_for=_COPIES_WITHIN)
    number = max(_versions(place), default=0) + 1
    with atomic_folder(place / f"{number:06d}") as temporary:
        for name in ("model.pt", "model.json"):
            shutil.copy(candidate / name, temporary / name)
        promoted = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(temporary / "promotion.json", {"promoted": promoted, "before": _current(place), **figures})
    write_json(place / _CURRENT, {"version": number})
    return number


def version_in_use(bundle: str | Path, *, models: str | Path = PROMOTED_FOLDER) -> int:
    """Returns the number of the version a bundle runs with, 0 for what it ships.

    Args:
        bundle: its folder.
        models: where promoted versions are kept.
    """
    return _current(Path(models) / Path(bundle).name)


def version_of_training(training: str, bundle: str | Path, *, models: str | Path = PROMOTED_FOLDER) -> int:
    """Returns the number of the version that a training made, 0 if it made none.

    Args:
        training: what `promote` was told under ``training``.
        bundle: its folder.
        models: where promoted versions are kept.
    """
    place = Path(models) / Path(bundle).name
    for number in reversed(_versions(place)) if training else ():
        record = json.loads((place / f"{number:06d}" / "promotion.json").read_text(encoding="utf-8"))
        if record.get("training") == training:
            return number
    return 0


def rollback(name: str, *, models: str = PROMOTED_FOLDER) -> str:
    """Makes the version before the current one of a bundle the one in use again; no version is removed.

    Args:
        name: of the bundle.
        models: where promoted versions are kept.

    Returns:
        What is in use now.

    Raises:
        BreastkitError: if the bundle's own weights are in use already.
    """
    place = Path(models) / name
    number = _current(place)
    if number == 0:
        raise BreastkitError(f"{name} runs with the weights it ships; there is nothing before them.")
    record = json.loads((place / f"{number:06d}" / "promotion.json").read_text(encoding="utf-8"))
    before = int(record["before"])
    # Asked before it is said: a version whose files are gone is no use.
    read_model_json(version_weights(bundle_folder(name), before, models=models))
    write_json(place / _CURRENT, {"version": before})
    return f"{name} runs with {_named(before)} again; version {number} is kept."


def list_models(*, models: str = PROMOTED_FOLDER) -> str:
    """Says which weights every bundle has and which are in use.

    Args:
        models: where promoted versions are kept.
    """
    lines = []
    for shipped in sorted(Path(bundle_folder("")).glob("*/models/model.json")):
        bundle = shipped.parents[1]
        place = Path(models) / bundle.name
        current = _current(place)
        for number in (0, *_versions(place)):
            facts = read_model_json(version_weights(bundle, number, models=models))
            mark = "*" if number == current else " "
            lines.append(f"{mark} {bundle.name}  {_named(number)}  {facts['architecture']}  {facts['sha256'][:12]}")
    return "\n".join(lines) or "No bundle has weights in this checkout."


def _named(number: int) -> str:
    return f"version {number}" if number else "the shipped weights"


def _versions(place: Path) -> list[int]:
    return sorted(int(path.parent.name) for path in place.glob("[0-9]*/promotion.json") if path.parent.name.isdecimal())


def _current(place: Path) -> int:
    path = place / _CURRENT
    if not path.is_file():
        return 0
    number = int(json.loads(path.read_text(encoding="utf-8"))["version"])
    return number if number in (0, *_versions(place)) else 0
