"""Training on what annotators saved: a process of its own makes a candidate, which is promoted only if it is not worse.

The split is kept with the labels: an image, or a patient where that is known, stays where it was put; new ones join.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.atomic import make_folder, write_json
from breastkit.cases import write_cases
from breastkit.errors import BreastkitError
from breastkit.images import read_mask, write_png
from breastkit.logs import get_logger, log_to_stderr
from breastkit.metrics.segmentation import dice
from breastkit.server.request_values import TrainingOptions
from breastkit.server.saved_labels import CLASSES
from breastkit.server.served_models import SegmentationModel
from breastkit.server.study_images import frames_of
from breastkit.server.study_store import StudyStore
from breastkit.training.promotion import promote, weights_in_use
from breastkit.training.weights import read_model_json

_log = get_logger(__name__)
# Of the groups, every fifth validates, the second one first: two labelled images are enough to begin.
_VALIDATES_EVERY, _VALIDATES_FIRST = 5, 1
_STATE = "training.json"


def assign_split(known: dict[str, str], groups: list[str]) -> dict[str, str]:
    """Returns the list of every group, ``training`` or ``validation``; known ones stay, new ones join at the end.

    Args:
        known: what was assigned before, in that order.
        groups: those with labels.
    """
    result = dict(known)
    for group in groups:
        if group not in result:
            result[group] = "validation" if len(result) % _VALIDATES_EVERY == _VALIDATES_FIRST else "training"
    return result


def prepare_labels(store: StudyStore, folder: Path) -> Path:
    """Writes the labelled pictures of a store as a case list with the store's own split, and returns its folder.

    Args:
        store: images and labels.
        folder: to write to.

    Raises:
        BreastkitError: if there are too few labels.
    """
    images = [image for image in map(store.image, store.labels.labelled()) if image.form.is_flat]
    split_file = store.folder / "split.json"
    known = json.loads(split_file.read_text(encoding="utf-8")) if split_file.is_file() else {}
    group_of = {image.id: str(image.info.get("PatientID") or image.id) for image in images}
    split = assign_split(known, [group_of[image.id] for image in images])
    if split != known:
        write_json(split_file, split)
    lists: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    for image in images:
        saved = store.labels.current(image.id)
        labels = _labels_of(saved.path)
        for number, (gray, _) in enumerate(frames_of(image)):
            name = f"{len(lists['training']) + len(lists['validation']):06d}"
            picture = write_png(folder / "images" / f"{name}.png", gray)
            mask = write_png(folder / "labels" / f"{name}.png", (labels[:, :, number].T > 0).astype(np.uint8) * 255)
            item = {"image": str(picture), "label": str(mask), "case": group_of[image.id]}
            if saved.info["class"]:
                item["class"] = saved.info["class"]
            lists[split[group_of[image.id]]].append(item)
    if not lists["training"] or not lists["validation"]:
        raise BreastkitError("Training needs labels of at least two pictures of different patients; save more first.")
    write_cases(folder, lists, facts={"name": "labels", "classes": list(CLASSES)})
    return folder


def _labels_of(path: Path) -> np.ndarray:
    if path.suffix == ".png":
        import cv2

        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).T[:, :, None]
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)


def mean_dice(model: SegmentationModel, cases: list[dict[str, Any]]) -> float:
    """Returns the mean Dice of a model over the items of a case list."""
    from breastkit.server.sessions import image_of_file

    reached = []
    for item in cases:
        prediction = model.predict(image_of_file(Path(item["image"])), lambda image: image.files[0])
        reached.append(dice(prediction.labels[:, :, 0].T > 0, read_mask(item["label"]) > 0))
    return float(np.mean(reached))


def train_candidate(bundle: str | Path, folder: str | Path, models: str | Path, options: TrainingOptions) -> str:
    """Trains on a prepared folder from the weights in use, compares on its validation list, promotes if not worse.

    Args:
        bundle: its folder.
        folder: with ``cases``; the run and the comparison are written beside it.
        models: where promoted versions are kept.
        options: of the training.

    Returns:
        What came out, as a sentence.

    Raises:
        BreastkitError: if the training fails.
    """
    from breastkit.cases import read_cases

    bundle, folder = Path(bundle), Path(folder)
    current = weights_in_use(bundle, models=models)
    facts = read_model_json(current)
    words = ["--bundle_root", str(bundle), "--dataset_dir", str(folder / "cases"), "--output_dir", str(folder / "run")]
    words += ["--architecture", str(facts["architecture"]), "--image_size", str(facts["image_size"])]
    words += ["--max_epochs", str(options.max_epochs), "--batch_size", str(options.batch_size)]
    words += ["--learning_rate", str(options.learning_rate), "--pretrained", str(current), "--num_workers", "0"]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "train.json")]
    result = subprocess.run([*command, *words], stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise BreastkitError(f"The training failed: {(result.stderr.strip() or 'it said nothing').splitlines()[-1]}")
    cases = read_cases(folder / "cases").validation
    reached = {
        name: mean_dice(SegmentationModel(bundle, lambda _, path=path: path), cases)
        for name, path in (("current", current), ("candidate", folder / "run" / "model.pt"))
    }
    write_json(folder / "comparison.json", {"validation_cases": len(cases), "dice": reached})
    told = f"Dice {reached['candidate']:.3f} instead of {reached['current']:.3f} on {len(cases)} validation pictures"
    if reached["candidate"] < reached["current"]:
        return f"Not promoted: {told}."
    number = promote(bundle, folder / "run", figures={"dice": reached, "validation_cases": len(cases)}, models=models)
    return f"Promoted as version {number}: {told}."


class LabelTraining:
    """Starts, watches and stops one training at a time; a process it started goes on when the server ends.

    Args:
        store: images and labels.
        models: where promoted versions are kept.
    """

    def __init__(self, store: StudyStore, models: str | Path) -> None:
        self.store, self.models = store, Path(models)
        self.folder = make_folder(store.folder / ".training")

    def start(self, bundle: Path, options: TrainingOptions) -> dict[str, Any]:
        """Starts a training and returns its state.

        Raises:
            BreastkitError: if one is running or there are too few labels.
        """
        if self.state()["status"] == "RUNNING":
            raise BreastkitError("A training is running; stop it or wait.")
        number = max((int(path.name) for path in self.folder.glob("[0-9]*")), default=0) + 1
        job = make_folder(self.folder / f"{number:06d}")
        try:
            prepare_labels(self.store, job / "cases")
        except BreastkitError:
            shutil.rmtree(job)
            raise
        settings = {"bundle": str(bundle), "models": str(self.models.resolve()), "options": options.model_dump()}
        write_json(job / "job.json", settings)
        with (job / "log.txt").open("wb") as log:
            command = [sys.executable, "-m", "breastkit.server.label_training", str(job)]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        write_json(job / _STATE, {"pid": process.pid, "started": _start_of(process.pid), "model": bundle.name})
        return self.state()

    def state(self) -> dict[str, Any]:
        """Returns what the latest training does: NONE, RUNNING, DONE, ERROR or STOPPED, and what it says."""
        jobs = [path for path in sorted(self.folder.glob("[0-9]*")) if (path / _STATE).is_file()]
        if not jobs:
            return {"status": "NONE", "model": "", "says": "", "progress": 0.0}
        job = jobs[-1]
        known = json.loads((job / _STATE).read_text(encoding="utf-8"))
        if (job / "result.json").is_file():
            result = json.loads((job / "result.json").read_text(encoding="utf-8"))
            return {**result, "model": known["model"], "progress": 1.0}
        running = _start_of(known["pid"]) == known["started"] is not None
        told = "Training" if running else "It ended without a word; look at its log."
        status = "RUNNING" if running else "STOPPED"
        return {"status": status, "model": known["model"], "says": told, "progress": _progress(job)}

    def stop(self) -> dict[str, Any]:
        """Stops a running training and returns the state."""
        jobs = sorted(self.folder.glob("[0-9]*/training.json"))
        if self.state()["status"] == "RUNNING":
            known = json.loads(jobs[-1].read_text(encoding="utf-8"))
            write_json(jobs[-1].with_name("result.json"), {"status": "STOPPED", "says": "Stopped."})
            # The training itself is a process of the same group.
            os.killpg(known["pid"], signal.SIGTERM)
        return self.state()


def _progress(job: Path) -> float:
    """Returns the share of the epochs that are done."""
    table = job / "run" / "metrics.csv"
    if not table.is_file():
        return 0.0
    options = json.loads((job / "job.json").read_text(encoding="utf-8"))["options"]
    return min(1.0, (len(table.read_text(encoding="utf-8").splitlines()) - 1) / options["max_epochs"])


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
    settings = json.loads((job / "job.json").read_text(encoding="utf-8"))
    options = TrainingOptions.model_validate(settings["options"])
    try:
        says = train_candidate(settings["bundle"], job, settings["models"], options)
        write_json(job / "result.json", {"status": "DONE", "says": says})
    except BreastkitError as error:
        says = str(error)
        write_json(job / "result.json", {"status": "ERROR", "says": says})
    _log.info("%s", says)


if __name__ == "__main__":
    main(sys.argv[1:])
