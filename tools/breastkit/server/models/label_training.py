"""Training on what annotators saved: a process of its own makes a candidate; `promotion_rules` say what becomes of it.

The split is kept with the labels: an image, or a patient where that is known, stays where it was put; new ones join.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.atomic import make_folder, write_json
from breastkit.bundle import Bundle
from breastkit.cases import CaseList, read_cases, write_cases
from breastkit.errors import BreastkitError, sentence_of
from breastkit.logs import get_logger, log_to_stderr
from breastkit.promotion import AUTOMATIC, promote, version_of_training
from breastkit.records import read_record, write_record
from breastkit.server.labels.label_files import base_name
from breastkit.server.labels.label_uses import LabelUse, use_of
from breastkit.server.models.promotion_rules import (
    LEAST_CASES,
    Comparison,
    compare,
    why_collapsed,
    why_not_better,
)
from breastkit.server.models.served_models import ServedModel
from breastkit.server.security.request_values import TrainingOptions
from breastkit.server.security.shown_sentences import without_folders
from breastkit.server.studies.study_phases import group_of
from breastkit.server.studies.study_store import StudyStore
from breastkit.weights import read_model_json

_log = get_logger(__name__)
# So many groups train for each one that validates, once as many validate as a promotion needs.
_TRAIN_FOR_ONE = 4
_ENDS_WITHIN = 30.0
_ASKED_EVERY = 0.5
_STATE, _COLLECTED, _RESULT, _WAITING = "training.json", "collected.json", "result.json", "waiting.json"
_JOB = "job.json"


@dataclass(frozen=True)
class Stratum:
    """What is alike among groups of labelled images, so that every list gets some of it.

    Attributes:
        kind: what the labels are of: ``picture``, or ``volume`` with the names of the labels.
        of_class: set by the annotator, empty where none is.
    """

    kind: str
    of_class: str = ""


def assign_split(known: dict[str, str], strata: dict[str, Stratum]) -> dict[str, str]:
    """Returns the list of every group, ``training`` or ``validation``; known ones stay, new ones join at the end.

    Of every stratum every second group validates until a promotion has what it needs of the kind, then one each time
    five more have come; where nothing of a kind validates yet, the next one does whatever its class.

    Args:
        known: what was assigned before, in that order.
        strata: of the groups with labels.
    """
    result = dict(known)
    for group, stratum in strata.items():
        if group in result:
            continue
        others = [(strata[other], where) for other, where in result.items() if other in strata]
        alike = [where for other, where in others if other == stratum]
        of_kind = [where for other, where in others if other.kind == stratum.kind]
        for_one = _TRAIN_FOR_ONE if of_kind.count("validation") >= LEAST_CASES else 1
        enough = for_one * alike.count("validation") >= alike.count("training")
        first = bool(of_kind) and "validation" not in of_kind
        result[group] = "validation" if first or not enough else "training"
    return result


def keep_split(store: StudyStore) -> tuple[dict[str, str], dict[str, str]]:
    """Assigns all labelled images that have no list yet, and keeps that with the labels.

    One split serves every bundle, so that a patient who validates one of them trains no other.

    Args:
        store: images and labels.

    Returns:
        The list of every group, and the group of every labelled image.
    """
    there = store.images.all()
    current = {name: store.labels.current(name) for name in store.labels.labelled() if name in there}
    labelled = [(there[name], saved) for name, saved in current.items() if saved is not None]
    groups = {image.id: group_of(image) for image, _ in labelled}
    kinds: dict[str, set[str]] = {}
    classes: dict[str, str] = {}
    for image, saved in labelled:
        group = groups[image.id]
        names = () if image.form.is_flat else map(base_name, saved.info["labels"])
        kinds.setdefault(group, set()).update(("picture",) if image.form.is_flat else ("volume", *names))
        classes[group] = classes.get(group) or saved.info["class"] or ""
    path = store.folder / "split.json"
    known = read_record(path, _checked_split) or {}
    split = assign_split(known, {group: Stratum(" ".join(sorted(kinds[group])), classes[group]) for group in kinds})
    if split != known:
        write_record(path, split)
    return split, groups


def _checked_split(split: Any) -> dict[str, str]:
    # None is ever written that is empty.
    if set(split.values()) not in ({"training"}, {"validation"}, {"training", "validation"}):
        raise ValueError("a group is in no list")
    return dict(split)


def model_of_labels(store: StudyStore, models: Mapping[str, ServedModel]) -> str:
    """Returns which of some models most of the labels say something to; the first of several.

    Args:
        store: images and labels.
        models: by name.

    Raises:
        BreastkitError: if no label says something to any.
    """
    counts = dict.fromkeys(models, 0)
    there, uses = store.images.all(), {name: use_of(model.bundle) for name, model in models.items()}
    for image in (there[name] for name in store.labels.labelled() if name in there):
        saved = store.labels.current(image.id)
        for name, model in models.items():
            counts[name] += saved is not None and model.suits(image) and uses[name].takes(image, saved)
    # What is outlined is what was drawn: of two that learn from the same labels the one that outlines.
    chosen = max(counts, key=lambda name: (counts[name], models[name].task == "segmentation"), default="")
    if not counts.get(chosen):
        raise BreastkitError(f"No label says which model to train; save labels, or name one of {', '.join(models)}.")
    return chosen


def collect_labels(store: StudyStore, use: LabelUse, folder: Path) -> Path:
    """Writes what a bundle learns from, by the store's own split, and returns the file that lists it.

    Args:
        store: images and labels.
        use: how the bundle uses labels.
        folder: to write to.

    Raises:
        BreastkitError: if there are too few labels.
    """
    split, groups = keep_split(store)
    there = store.images.all()
    lists: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    left_out: list[str] = []
    for number, (name, group) in enumerate(groups.items()):
        saved = store.labels.current(name)
        if saved is None or not use.takes(there[name], saved):
            continue
        try:
            items = use.collect(store, store.image(name), saved, make_folder(folder / "images") / f"{number:06d}")
        except BreastkitError as error:
            # One image that cannot be read any more does not stop the others.
            _log.warning("The label of %s trains nothing: %s", name, error)
            left_out.append(str(error).rstrip("."))
            continue
        lists[split[group]] += [{**item, "case": group} for item in items]
    if not use.is_enough(lists):
        why = f" ({left_out[0]})" if left_out else ""
        raise BreastkitError(f"Training needs {use.needs}; save more first{why}.")
    return write_json(folder / _COLLECTED, lists)


def finish_cases(use: LabelUse, folder: Path) -> CaseList:
    """Returns the case list of what was collected, written beside it.

    Raises:
        BreastkitError: if too little of it can be used.
    """
    collected = json.loads((folder / _COLLECTED).read_text(encoding="utf-8"))
    lists = {name: use.finish(items, folder) for name, items in collected.items()}
    if not use.is_enough(lists):
        raise BreastkitError(f"Training needs {use.needs}; of what was saved too little can be used, as the log says.")
    write_cases(folder, lists, facts=use.facts())
    return read_cases(folder)


def train_candidate(
    bundle: Bundle,
    folder: str | Path,
    options: TrainingOptions,
    *,
    training: str = "",
    needs_confirmation: bool = False,
) -> str:
    """Trains on a prepared folder from the weights in use, compares on its validation list, promotes what is better.

    Args:
        bundle: which one.
        folder: with what was collected in ``cases``; the run and the comparison are written beside it.
        options: of the training.
        training: what to call it in the record of the version it makes.
        needs_confirmation: whether an administrator has to confirm the promotion first.

    Returns:
        What came out, as a sentence.

    Raises:
        BreastkitError: if the training fails.
    """
    folder = Path(folder)
    use = use_of(bundle)
    cases = finish_cases(use, folder / "cases")
    current, version = bundle.weights_in_use, bundle.version_in_use
    _train(bundle, folder, current, options)
    candidate = folder / "run" / "model.pt"
    use.settle(candidate.parent, current, cases)
    found = compare(use, use.answers(current, cases), use.answers(candidate, cases))
    phantoms: dict[str, float] = {}
    why = why_not_better(use, found)
    if not why:
        why, phantoms = why_collapsed(use, bundle.shipped_weights, candidate, folder / "phantoms")
    figures = {**_figures(use, found), "validation_cases": use.count(cases), "phantoms": phantoms}
    write_json(folder / "comparison.json", {**figures, "why_not": why})
    told = f"{use.measure} {found.candidate:.3f} instead of {found.current:.3f} on {use.count(cases)} {use.unit}"
    if why:
        return f"Not promoted: {told}; {why}."
    # Better than next to nothing, by labels that may be nonsense: that is not for a program to decide.
    if needs_confirmation or found.candidate < use.useful_from:
        write_json(folder / _WAITING, {"version": version, "figures": {**figures, "training": training}, "told": told})
        return f"Waits for an administrator's confirmation: {told}."
    number = promote(bundle, folder / "run", figures={**figures, "training": training}, instead_of=version)
    return f"Promoted as version {number}: {told}."


def _figures(use: LabelUse, found: Comparison) -> dict[str, Any]:
    """Returns a comparison for the record of a version."""
    return {
        "measure": use.measure,
        "reached": {"current": found.current, "candidate": found.candidate},
        "difference": [value if np.isfinite(value) else None for value in found.difference],
        "filled_cases": found.cases,
        "patients": found.patients,
    }


def _train(bundle: Bundle, folder: Path, current: Path, options: TrainingOptions) -> None:
    """Runs the bundle's own training in this process, so that nothing goes on without it when it is killed."""
    from monai.bundle import run

    facts = read_model_json(current)
    try:
        run(
            config_file=str(bundle.folder / "configs" / "train.json"),
            bundle_root=str(bundle.folder),
            dataset_dir=str(folder / "cases"),
            output_dir=str(folder / "run"),
            architecture=str(facts["architecture"]),
            image_size=facts["image_size"],
            pretrained=str(current),
            num_workers=0,
            **options.model_dump(),
        )
    except Exception as error:  # MONAI wraps whatever a config raises
        said = sentence_of(error) or f"{type(error).__name__}: {error}"
        raise BreastkitError(f"The training failed: {said}") from error


class LabelTraining:
    """Starts, watches and stops one training at a time; a process it started goes on when the server ends.

    Args:
        store: images and labels.
        needs_confirmation: whether an administrator has to confirm what comes out before it is used.
    """

    def __init__(self, store: StudyStore, *, needs_confirmation: bool = False) -> None:
        self.store, self.needs_confirmation = store, needs_confirmation
        self.folder = make_folder(store.folder / ".training")

    def start(self, bundle: Bundle, options: TrainingOptions) -> dict[str, Any]:
        """Starts a training and returns its state.

        Raises:
            BreastkitError: if one is running or there are too few labels.
        """
        if self.state()["status"] == "RUNNING":
            raise BreastkitError("A training is running; stop it or wait.")
        there = (path.name for path in self.folder.glob("[0-9]*"))
        number = max((int(name) for name in there if name.isdecimal()), default=0) + 1
        job = make_folder(self.folder / f"{number:06d}")
        try:
            collect_labels(self.store, use_of(bundle), job / "cases")
        except BreastkitError:
            shutil.rmtree(job)
            raise
        settings = {
            "bundle": str(bundle.folder),
            "models": str(bundle.models.resolve()),
            "options": options.model_dump(),
            "training": secrets.token_hex(16),
            "needs_confirmation": self.needs_confirmation,
        }
        write_json(job / _JOB, settings)
        with (job / "log.txt").open("wb") as log:
            command = [sys.executable, "-m", "breastkit.server.models.label_training", str(job)]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        _note_process(job, process.pid, bundle)
        return self.state()

    def confirm(self, bundle: Bundle, *, user: str = "") -> dict[str, Any]:
        """Promotes what the latest training of a bundle that waits for it has made, and returns what it says.

        Args:
            bundle: which one.
            user: who confirms.

        Raises:
            BreastkitError: if none waits, or other weights have come into use since.
        """
        waiting = [path for path in sorted(self.folder.glob(f"[0-9]*/{_WAITING}")) if _is_of(path.parent, bundle)]
        if not waiting:
            raise BreastkitError(f"No training of {bundle.name} waits for a confirmation; train first.")
        job, held = waiting[-1].parent, read_record(waiting[-1], _checked_waiting)
        if held is None:
            raise BreastkitError(f"What the training of {bundle.name} has to say is damaged; train again.")
        if held["version"] != bundle.version_in_use:
            raise BreastkitError(f"Other weights of {bundle.name} are in use since it was trained; train again.")
        figures = {**held["figures"], "confirmed_by": user}
        number = promote(bundle, job / "run", figures=figures, by=user or AUTOMATIC, instead_of=held["version"])
        says = f"Promoted as version {number}: {held['told']}."
        write_json(job / _RESULT, {"status": "DONE", "says": says})
        for path in waiting:
            path.unlink()
        return {"model": bundle.name, "version": number, "says": says}

    def state(self) -> dict[str, Any]:
        """Returns what the latest training does: NONE, RUNNING, DONE, ERROR or STOPPED, and what it says."""
        jobs = self._jobs()
        return _state_of(jobs[-1]) if jobs else {"status": "NONE", "model": "", "says": "", "progress": 0.0}

    def states(self) -> list[dict[str, Any]]:
        """Returns what every training has done, the latest last."""
        return [_state_of(job) for job in self._jobs()]

    def wait(self) -> dict[str, Any]:
        """Waits until no training runs, and returns the state."""
        while (state := self.state())["status"] == "RUNNING":
            time.sleep(_ASKED_EVERY)
        return state

    def _jobs(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob("[0-9]*")) if _process_of(path) is not None]

    def stop(self) -> dict[str, Any]:
        """Stops a running training and returns the state."""
        jobs = self._jobs()
        process = _process_of(jobs[-1]) if jobs else None
        if process is not None and self.state()["status"] == "RUNNING":
            os.killpg(process.pid, signal.SIGKILL)
            end = time.monotonic() + _ENDS_WITHIN
            while process.is_running and time.monotonic() < end:
                time.sleep(0.02)
        return self.state()


def _state_of(job: Path) -> dict[str, Any]:
    """Returns what a training does, with what 3D Slicer shows of it."""
    process, result, (done, total) = _process_of(job), job / _RESULT, _epochs(job)
    said = read_record(result, lambda content: {name: _shown(content[name]) for name in ("status", "says")})
    told: dict[str, Any]
    if said is not None:
        told = {**said, "progress": 1.0}
    elif process is not None and process.is_running:
        told = {"status": "RUNNING", "says": "Training", "progress": done / max(1, total)}
    else:
        told = {**_left_by(job), "progress": done / max(1, total)}
    ended = {"end_ts": _time_of(result)} if said is not None else {}
    begun = {"id": job.name, "start_ts": _time_of(job / _JOB)}
    epochs = {"epoch": done, "total_epochs": total}
    return {
        **told,
        "model": process.model if process is not None else "",
        **epochs,
        **begun,
        **ended,
        "details": [told["says"]],
    }


def _shown(said: Any) -> str:
    if not isinstance(said, str):
        raise TypeError(said)
    return without_folders(said)


def _time_of(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "seconds") if path.is_file() else ""


@dataclass(frozen=True)
class _Process:
    """The process of a training, which nothing but the system knows for sure to run."""

    pid: int
    started: str | None
    model: str

    @property
    def is_running(self) -> bool:
        return self.started is not None and _start_of(self.pid) == self.started


def _process_of(job: Path) -> _Process | None:
    """Returns the process of a training, None where its folder does not say."""
    return read_record(job / _STATE, lambda said: _Process(int(said["pid"]), said["started"], str(said["model"])))


def _settings_of(job: Path) -> dict[str, Any] | None:
    """Returns what a training was asked for, None where its folder does not say."""
    return read_record(job / _JOB, _checked_settings)


def _checked_settings(settings: Any) -> dict[str, Any]:
    TrainingOptions.model_validate(settings["options"])
    return {**settings, **{name: str(settings[name]) for name in ("bundle", "models", "training")}}


def _checked_waiting(held: Any) -> dict[str, Any]:
    return {"version": int(held["version"]), "figures": dict(held["figures"]), "told": str(held["told"])}


def _is_of(job: Path, bundle: Bundle) -> bool:
    process = _process_of(job)
    return process is not None and process.model == bundle.name


def _note_process(job: Path, pid: int, bundle: Bundle) -> None:
    """Notes which process a training is; both it and the server do, so that it is known if either is killed."""
    write_json(job / _STATE, {"pid": pid, "started": _start_of(pid), "model": bundle.name})


def _left_by(job: Path) -> dict[str, str]:
    """Returns what a training that was killed has come to: it may have made a version before it could say so."""
    settings = _settings_of(job)
    bundle = Bundle(settings["bundle"], models=settings["models"]) if settings else None
    version = version_of_training(settings["training"], bundle) if settings and bundle else 0
    if not version or bundle is None:
        return {"status": "STOPPED", "says": "Stopped before it was done; the weights in use are those of before."}
    if version == bundle.version_in_use:
        return {"status": "DONE", "says": f"Promoted as version {version}."}
    return {"status": "STOPPED", "says": f"Stopped; version {version} is kept and not in use."}


def _epochs(job: Path) -> tuple[int, int]:
    """Returns how many epochs are done, and of how many."""
    table = job / "run" / "metrics.csv"
    settings = _settings_of(job)
    total = int(settings["options"]["max_epochs"]) if settings else 0
    done = len(table.read_text(encoding="utf-8", errors="replace").splitlines()) - 1 if table.is_file() else 0
    return min(max(done, 0), total), total


def _start_of(pid: int) -> str | None:
    """Returns when a process began, so that another one with its number is not taken for it; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = re.sub(r"^.*\) ", "", text).split()
    return None if fields[0] == "Z" else fields[19]


def main(words: list[str]) -> None:
    """Runs the training of a folder; what came out stands in its ``result.json``."""
    log_to_stderr()
    job = Path(words[0])
    settings = json.loads((job / _JOB).read_text(encoding="utf-8"))
    options = TrainingOptions.model_validate(settings["options"])
    bundle = Bundle(settings["bundle"], models=settings["models"])
    _note_process(job, os.getpid(), bundle)
    try:
        says = train_candidate(
            bundle,
            job,
            options,
            training=settings["training"],
            needs_confirmation=settings.get("needs_confirmation", False),
        )
        write_json(job / _RESULT, {"status": "DONE", "says": says})
    except BreastkitError as error:
        says = str(error)
        write_json(job / _RESULT, {"status": "ERROR", "says": says})
    except Exception:
        # Whatever else goes wrong: whoever pressed the button is told, whoever looks at the log sees why.
        write_json(job / _RESULT, {"status": "ERROR", "says": "The training failed; look at its log."})
        raise
    _log.info("%s", says)


if __name__ == "__main__":
    main(sys.argv[1:])
