"""Versions of a bundle's weights beside those it ships: registered, promoted, rolled back, never lost.

``FOLDER/BUNDLE/000001/model.pt`` and ``model.json`` are versions, from 1; ``registration.json`` beside them says where
they come from, ``promotion.json`` why they came into use. ``FOLDER/BUNDLE/current.json`` says which is in use, as
`breastkit.bundle.Bundle` reads it. Version 0 is what the bundle ships. A version is copied whole before it becomes the
current one, so that a process killed at any moment leaves the one before.

Where MLflow is in use, its registry is told the same, see `model_registry`: the annotation server goes on without it
where it does not answer, a person is asked to start it first.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from breastkit.atomic import atomic_folder, make_folder, remove_leftovers, write_json
from breastkit.bundle import CURRENT, PROMOTION, Bundle
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.model_registry import ModelRegistry, RefusedError, registry_in_use
from breastkit.records import read_record, write_record
from breastkit.weights import load_weights, read_model_json

REGISTRATION = "registration.json"
# What stands in a record where nobody was asked.
AUTOMATIC = "the annotation server"
_COPIES_WITHIN = 600.0
_log = get_logger(__name__)


def promote(
    bundle: Bundle,
    candidate: str | Path,
    *,
    figures: Mapping[str, Any],
    by: str = AUTOMATIC,
    instead_of: int | None = None,
) -> int:
    """Makes weights the next version of a bundle and the one in use, in the registry too where that answers.

    Args:
        bundle: whose weights they are.
        candidate: the folder with ``model.pt`` and ``model.json``.
        figures: what it and the version before it reached.
        by: who promotes it.
        instead_of: the version that it was compared with.

    Returns:
        The number of the version.

    Raises:
        BreastkitError: if the candidate is missing or damaged, the folder cannot be written, or other weights have come
            into use since the comparison.
    """
    load_weights(candidate)
    registry = _registry_that_answers()
    with changing(bundle):
        _refuse_other(bundle, instead_of)
        number = _added(bundle, Path(candidate), {"by": by, "from": str(Path(candidate).name)}, registry)
        _put_in_use(bundle, number, {"by": by, **figures}, registry)
    return number


def register_weights(bundle: Bundle, folder: str | Path, facts: Mapping[str, Any]) -> int:
    """Makes weights a version of a bundle that is not in use yet, and the candidate of the registry.

    Args:
        bundle: whose weights they are.
        folder: with ``model.pt`` and ``model.json``.
        facts: where they come from.

    Returns:
        The number of the version; the one they have where they are registered already.

    Raises:
        BreastkitError: if they are missing or damaged, or the registry does not answer.
    """
    load_weights(folder)
    registry, sha256 = registry_in_use(), read_model_json(folder)["sha256"]
    with changing(bundle):
        there = (
            one for one in numbers_of(bundle) if read_model_json(bundle.weights_of_version(one))["sha256"] == sha256
        )
        number = next(there, 0) or _added(bundle, Path(folder), {"by": who(), **facts}, registry)
        if registry is not None:
            _tell(registry, bundle)
            registry.set_candidate(bundle.name, number)
    return number


def use_version(bundle: Bundle, number: int, *, figures: Mapping[str, Any], instead_of: int) -> None:
    """Makes a registered version the one in use.

    Args:
        bundle: whose it is.
        number: of the version.
        figures: what it and the version before it reached.
        instead_of: the version that it was compared with.

    Raises:
        BreastkitError: if its weights are damaged, the registry does not answer, or other weights have come into use
            since the comparison.
    """
    load_weights(bundle.weights_of_version(number))
    registry = registry_in_use()
    with changing(bundle):
        _refuse_other(bundle, instead_of)
        _put_in_use(bundle, number, {"by": who(), **figures}, registry)


def fetch_version(bundle: Bundle, number: int) -> None:
    """Fetches a version that was registered elsewhere from the registry, unless it is here.

    Raises:
        BreastkitError: if there is no such version here or there, or its hash differs.
    """
    if bundle.weights_of_version(number).is_file():
        return
    registry = registry_in_use()
    there = registry.versions(bundle.name) if registry is not None else []
    found = next((one for one in there if one.number == number), None)
    if registry is None or found is None:
        known = ", ".join(str(one) for one in numbers_of(bundle)) or "none"
        raise BreastkitError(
            f"{bundle.name} has no version {number} (there are: {known}); register a run first: breastkit models "
            "register RUN."
        )
    with changing(bundle), atomic_folder(bundle.promoted / f"{number:06d}") as temporary:
        registry.fetch(found.source, temporary)
        load_weights(temporary)
        if read_model_json(temporary)["sha256"] != found.sha256:
            raise BreastkitError(
                f"The weights of {found.model} in {registry} are not those that were registered (sha256 differs); "
                "register them again from their run."
            )
        origin = {key: value for key, value in found.tags.items() if key not in ("bundle", "number", "sha256")}
        write_json(temporary / REGISTRATION, origin)


def version_of_training(training: str, bundle: Bundle) -> int:
    """Returns the number of the version that a training made, 0 if it made none.

    Args:
        training: what `promote` was told under ``training``.
        bundle: whose weights were trained.
    """
    for number in reversed(bundle.versions) if training else ():
        if promotion_of(bundle, number).get("training") == training:
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
    if bundle.version_in_use == 0:
        raise BreastkitError(f"{name} runs with the weights it ships; there is nothing before them.")
    registry = registry_in_use()
    with changing(bundle):
        number = bundle.version_in_use
        before = _before(bundle, number)
        # Asked before it is said: a version whose files are gone is no use.
        read_model_json(bundle.weights_of_version(before))
        if registry is not None:
            _tell(registry, bundle)
            registry.set_champion(bundle.name, before, {"rolled_back_to_by": who()})
        write_record(bundle.promoted / CURRENT, {"version": before})
    return f"{name} runs with {named(before)} again; version {number} is kept."


def named(number: int) -> str:
    """Returns how a version is called."""
    return f"version {number}" if number else "the shipped weights"


def numbers_of(bundle: Bundle) -> list[int]:
    """Returns the numbers of the versions that were registered, in use once or not."""
    found = (path.parent.name for path in bundle.promoted.glob("[0-9]*/model.pt"))
    return sorted(int(name) for name in found if name.isdecimal())


def promotion_of(bundle: Bundle, number: int) -> dict[str, Any]:
    """Returns why a version came into use; empty where it did not, or it is what ships."""
    return _said(bundle.weights_of_version(number).with_name(PROMOTION)) if number else {}


def registration_of(bundle: Bundle, number: int) -> dict[str, Any]:
    """Returns where a version comes from; empty where nothing says so, or it is what ships."""
    return _said(bundle.weights_of_version(number).with_name(REGISTRATION)) if number else {}


def who() -> str:
    """Returns who works here: the user of the MLflow server, else that of the machine."""
    return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()


@contextmanager
def changing(bundle: Bundle) -> Iterator[None]:
    """Lets one process at a time change the versions of a bundle; others wait, for it takes no longer than a copy."""
    with (make_folder(bundle.promoted) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _said(path: Path) -> dict[str, Any]:
    return read_record(path, dict[str, Any]) or {}


def _registry_that_answers() -> ModelRegistry | None:
    try:
        return registry_in_use()
    except BreastkitError as error:
        _log.warning("The registry is told later: %s", error)
        return None


def _refuse_other(bundle: Bundle, instead_of: int | None) -> None:
    if instead_of is not None and (current := bundle.version_in_use) != instead_of:
        raise BreastkitError(
            f"{bundle.name} runs with {named(current)} since this was compared with {named(instead_of)}; nothing was "
            "changed, compare again."
        )


def _added(bundle: Bundle, folder: Path, facts: Mapping[str, Any], registry: ModelRegistry | None) -> int:
    """Copies weights as the next version and returns its number."""
    # What a process that was killed while it copied has left; another one that copies now is not done within that time.
    remove_leftovers(make_folder(bundle.promoted), untouched_for=_COPIES_WITHIN)
    # Also those that lack a file now: nothing of them is written over.
    there = [int(path.name[:6]) for path in bundle.promoted.glob("[0-9]*") if path.name[:6].isdecimal()]
    if registry is not None:
        there += [one.number for one in registry.versions(bundle.name)]
    number = max(there, default=0) + 1
    with atomic_folder(bundle.promoted / f"{number:06d}") as temporary:
        for name in ("model.pt", "model.json"):
            shutil.copy(folder / name, temporary / name)
        write_json(temporary / REGISTRATION, {"registered": _now(), **facts})
    return number


def _put_in_use(bundle: Bundle, number: int, record: Mapping[str, Any], registry: ModelRegistry | None) -> None:
    """Tells the registry, which may refuse it, and then the files that are read."""
    current = bundle.version_in_use
    earlier = _chain(bundle, current)
    # Promoted once more: what stood before it then still does, else two versions would each stand before the other.
    before = earlier[earlier.index(number) + 1] if number in earlier[:-1] else current
    if registry is not None:
        try:
            _tell(registry, bundle)
            registry.set_champion(bundle.name, number, {"promoted_by": str(record["by"]), "promoted": _now()})
        except RefusedError:
            raise
        except BreastkitError as error:
            if record["by"] != AUTOMATIC:
                raise
            _log.warning("The registry is told later: %s", error)
    if number:
        place = bundle.weights_of_version(number).with_name(PROMOTION)
        write_json(place, {"promoted": _now(), "before": before, **record})
    write_record(bundle.promoted / CURRENT, {"version": number})


def _tell(registry: ModelRegistry, bundle: Bundle) -> None:
    """Registers every version that the registry does not know, what ships included."""
    for number in (0, *numbers_of(bundle)):
        registry.add(bundle, number, bundle.weights_of_version(number).parent, registration_of(bundle, number))


def _chain(bundle: Bundle, number: int) -> list[int]:
    """Returns a version and those before it, down to what ships."""
    chain = [number]
    while chain[-1]:
        before = _before(bundle, chain[-1])
        # Damaged records may say that two versions stand before each other.
        chain.append(before if before not in chain else 0)
    return chain


def _before(bundle: Bundle, number: int) -> int:
    # What was promoted before it, where its record is lost.
    earlier = max((one for one in bundle.versions if one < number), default=0)
    before = int(promotion_of(bundle, number).get("before", earlier))
    return before if before != number else earlier


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
