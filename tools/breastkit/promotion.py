"""Versions of a bundle's weights beside those it ships: promoted, rolled back, never lost.

``FOLDER/BUNDLE/000001/model.pt`` and ``model.json`` are versions, from 1; ``FOLDER/BUNDLE/current.json`` says which is
in use, as `breastkit.bundle.Bundle` reads it. Version 0 is what the bundle ships. A version is copied whole before it
becomes the current one, so that a process killed at any moment leaves the one before.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from breastkit.atomic import atomic_folder, make_folder, remove_leftovers, write_json
from breastkit.bundle import CURRENT, PROMOTION, Bundle, find_bundles
from breastkit.errors import BreastkitError
from breastkit.records import read_record, write_record
from breastkit.weights import load_weights, read_model_json

_COPIES_WITHIN = 600.0


def promote(bundle: Bundle, candidate: str | Path, *, figures: dict[str, Any]) -> int:
    """Makes weights the next version of a bundle and the one in use.

    Args:
        bundle: whose weights they are.
        candidate: the folder with ``model.pt`` and ``model.json``.
        figures: what it and the version before it reached.

    Returns:
        The number of the version.

    Raises:
        BreastkitError: if the candidate is missing or damaged, or the folder cannot be written.
    """
    candidate = Path(candidate)
    load_weights(candidate)
    # What a process that was killed while it copied has left; another one that copies now is not done within that time.
    remove_leftovers(make_folder(bundle.promoted), untouched_for=_COPIES_WITHIN)
    # Also those that lack a file now: nothing of them is written over.
    there = (path.name[:6] for path in bundle.promoted.glob("[0-9]*"))
    number = max((int(name) for name in there if name.isdecimal()), default=0) + 1
    with atomic_folder(bundle.promoted / f"{number:06d}") as temporary:
        for name in ("model.pt", "model.json"):
            shutil.copy(candidate / name, temporary / name)
        promoted = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(temporary / PROMOTION, {"promoted": promoted, "before": bundle.version_in_use, **figures})
    write_record(bundle.promoted / CURRENT, {"version": number})
    return number


def version_of_training(training: str, bundle: Bundle) -> int:
    """Returns the number of the version that a training made, 0 if it made none.

    Args:
        training: what `promote` was told under ``training``.
        bundle: whose weights were trained.
    """
    for number in reversed(bundle.versions) if training else ():
        if _record(bundle, number).get("training") == training:
            return number
    return 0


def rollback(name: str, *, models: str | None = None) -> str:
    """Makes the version before the current one of a bundle the one in use again; no version is removed.

    Args:
        name: of the bundle.
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Returns:
        What is in use now.

    Raises:
        BreastkitError: if the bundle's own weights are in use already.
    """
    bundle = Bundle(name, models=models)
    number = bundle.version_in_use
    if number == 0:
        raise BreastkitError(f"{name} runs with the weights it ships; there is nothing before them.")
    # What was promoted before it, where its record is lost.
    earlier = max((one for one in bundle.versions if one < number), default=0)
    before = int(_record(bundle, number).get("before", earlier))
    # Asked before it is said: a version whose files are gone is no use.
    read_model_json(bundle.weights_of_version(before))
    write_record(bundle.promoted / CURRENT, {"version": before})
    return f"{name} runs with {_named(before)} again; version {number} is kept."


def list_models(*, models: str | None = None) -> str:
    """Says which weights every bundle has and which are in use.

    Args:
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.
    """
    lines = []
    for bundle in find_bundles(models=models):
        if not bundle.shipped_weights.is_file():
            continue
        current = bundle.version_in_use
        for number in (0, *bundle.versions):
            facts = read_model_json(bundle.weights_of_version(number))
            mark = "*" if number == current else " "
            lines.append(f"{mark} {bundle.name}  {_named(number)}  {facts['architecture']}  {facts['sha256'][:12]}")
    return "\n".join(lines) or "No bundle has weights in this checkout."


def _named(number: int) -> str:
    return f"version {number}" if number else "the shipped weights"


def _record(bundle: Bundle, number: int) -> dict[str, Any]:
    return read_record(bundle.weights_of_version(number).with_name(PROMOTION), dict[str, Any]) or {}
