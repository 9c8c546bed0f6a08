"""How good the models are and what they do not know yet: Dice against saved labels, uncertainty of the rest.

Computed in the background, an image at a time through the queue of inferences, and kept with the labels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.metrics.segmentation import dice
from breastkit.records import read_record, write_record
from breastkit.server.labels.label_files import read_labels
from breastkit.server.labels.label_uses import outlined_in
from breastkit.server.labels.saved_labels import SavedLabel
from breastkit.server.models.inference_queue import BusyError
from breastkit.server.models.scored_images import ScoredImages
from breastkit.server.models.scoring_methods import Method
from breastkit.server.security.shown_sentences import without_folders
from breastkit.server.studies.study_images import StudyImage
from breastkit.server.studies.study_store import StudyStore

_log = get_logger(__name__)
Result = TypeVar("Result")
# Seconds until it is tried again where too many inferences wait.
_PATIENCE = 2.0


class _StoppedError(Exception):
    """Somebody asked to stop."""


class Scoring:
    """Runs scoring methods one after the other.

    Args:
        store: images and labels.
        scores: of pictures and of volumes, each by the model that is measured.
        path: the JSON file where results are kept.
    """

    def __init__(self, store: StudyStore, scores: Sequence[ScoredImages], path: Path) -> None:
        self.store, self.scores, self.path = store, scores, path
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting: list[Method] = []
        self._state: dict[str, Any] = {"status": "NONE", "method": "", "says": "", "progress": 0.0}

    def results(self) -> dict[str, dict[str, Any]]:
        """Returns what was found last, by method."""
        return {name: one["found"] for name, one in self._kept().items()}

    def state(self) -> dict[str, Any]:
        """Returns what the latest scoring does: NONE, RUNNING, DONE, ERROR or STOPPED, and what it says."""
        return dict(self._state)

    def start(self, *methods: Method) -> dict[str, Any]:
        """Starts methods, after those that run already, and returns the state."""
        with self._changing:
            self._waiting += [one for one in methods if one not in self._waiting]
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._say("RUNNING", self._waiting[0], "Scoring", 0.0)
                self._thread = threading.Thread(target=self._run_all, daemon=True)
                self._thread.start()
            # Before the thread may go on: who starts something is told that it runs.
            return self.state()

    def stop(self) -> dict[str, Any]:
        """Stops what runs and what waits, and returns the state."""
        with self._changing:
            self._waiting.clear()
            self._stopping.set()
            thread = self._thread
        if thread is not None:
            thread.join()
        return self.state()

    def wait(self) -> dict[str, Any]:
        """Waits until nothing runs, and returns the state."""
        if (thread := self._thread) is not None:
            thread.join()
        return self.state()

    def run(self, method: Method) -> dict[str, Any]:
        """Runs a method and returns what it found."""
        return self._dice() if method is Method.DICE else self._uncertainty()

    def _run_all(self) -> None:
        while (method := self._next()) is not None:
            try:
                self._say("RUNNING", method, "Scoring", 0.0)
                self.run(method)
                status, says = "DONE", "Done."
            except _StoppedError:
                status, says = "STOPPED", "Stopped."
            except BreastkitError as error:
                status, says = "ERROR", without_folders(str(error))
            except Exception:  # a viewer that waits must be told
                _log.exception("Scoring %s failed", method)
                status, says = "ERROR", "Scoring failed; the server's log says why."
            self._finish(method, status, says)

    def _next(self) -> Method | None:
        """Returns what this thread is to run; None where it has told its end, or was stopped between two methods."""
        with self._changing:
            if self._thread is not threading.current_thread():
                return None
            if self._waiting:
                return self._waiting.pop(0)
            self._thread = None
            self._say("STOPPED", self._state["method"], "Stopped.", self._state["progress"])
            return None

    def _finish(self, method: Method, status: str, says: str) -> None:
        """Tells how a method ended, unless another one follows: who waits for the end waits for all."""
        with self._changing:
            if not self._waiting or status != "DONE":
                self._waiting.clear()
                self._thread = None
                self._say(status, method, says, 1.0 if status == "DONE" else self._state["progress"])

    def _dice(self) -> dict[str, Any]:
        """Compares the models' outlines of all labelled images with the labels."""
        before = self._kept().get(Method.DICE, {})
        weights = self._weights()
        same = {kind for kind, version in weights.items() if before.get("weights", {}).get(kind) == version}
        cases: dict[str, dict[str, Any]] = {kind: {} for kind in weights}
        for scores, image, saved in self._each(self._labelled()):
            known = before["cases"][scores.kind].get(image.id) if scores.kind in same else None
            if known is not None and known["version"] == saved.version:
                cases[scores.kind][image.id] = known
                continue
            try:
                reached = self._in_turn(partial(self._dice_of, scores, image, saved))
            except BreastkitError as error:
                _log.warning("%s has no Dice: %s", image.id, error)
                continue
            cases[scores.kind][image.id] = {"version": saved.version, "dice": reached}
        values = {kind: [one["dice"] for one in found.values()] for kind, found in cases.items()}
        return self._keep(Method.DICE, values, weights=weights, cases=cases)

    def _labelled(self) -> list[tuple[ScoredImages, StudyImage, SavedLabel]]:
        """Returns the labelled images whose labels say something of what a model outlines."""
        found = []
        for scores in self.scores:
            for image in scores.read_by_model():
                saved = self.store.labels.current(image.id)
                if saved is not None and _numbers(scores, saved) != []:
                    found.append((scores, image, saved))
        return found

    def _dice_of(self, scores: ScoredImages, image: StudyImage, saved: SavedLabel) -> float:
        prediction = scores.model.predict(self.store.images.fetched(image), self.store.images.file_of)
        labels = read_labels(saved.path, self.store.images.grid_of(image), name=image.id)
        numbers = _numbers(scores, saved)
        # Scored is what outlines; only models that answer with boxes have no labels.
        assert prediction.labels is not None
        truth = outlined_in(saved, labels) if numbers is None else np.isin(labels, numbers)
        return dice(prediction.labels > 0, truth)

    def _uncertainty(self) -> dict[str, Any]:
        """Has every image scored and takes the means over those without a label."""
        waiting = [(scores, image) for scores in self.scores for image in scores.waiting()]
        for scores, image in self._each(waiting):
            self._in_turn(partial(scores.score, image))
        done, values = set(self.store.labelled()), {}
        for scores in self.scores:
            scores.forget_other_weights()
            known = scores.known().items()
            values[scores.kind] = [score.uncertainty for image, score in known if image not in done]
        return self._keep(Method.UNCERTAINTY, values, weights=self._weights())

    def _weights(self) -> dict[str, str]:
        return {scores.kind: scores.model.version_of_weights() for scores in self.scores}

    def _each(self, items: Sequence[Result]) -> Iterator[Result]:
        """Yields items while the state says how far it is."""
        for number, item in enumerate(items):
            self._state = {**self._state, "progress": number / len(items)}
            if self._stopping.is_set():
                raise _StoppedError
            yield item

    def _in_turn(self, function: Callable[[], Result]) -> Result:
        """Runs a function when it is its turn; viewers come first, so it waits where many do."""
        while not self._stopping.is_set():
            try:
                return self.scores[0].queue.run(function)
            except BusyError:
                self._stopping.wait(_PATIENCE)
        raise _StoppedError

    def _kept(self) -> dict[str, Any]:
        return read_record(self.path, _checked) or {}

    def _keep(self, method: Method, values: dict[str, list[float]], **more: Any) -> dict[str, Any]:
        """Keeps the means of what was measured of each kind of images, and returns them."""
        found: dict[str, Any] = {
            kind: {method.value: float(np.mean(ones)) if ones else None, "images": len(ones)}
            for kind, ones in values.items()
        }
        found["computed"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_record(self.path, {**self._kept(), method.value: {"found": found, **more}})
        return found

    def _say(self, status: str, method: str, says: str, progress: float) -> None:
        self._state = {"status": status, "method": str(method), "says": says, "progress": progress}


def _checked(kept: Any) -> dict[str, Any]:
    """Returns what was found of every method, if it is in the form that is kept; raises what Python does if not."""
    if not kept:
        raise ValueError("nothing was measured")
    for method, one in kept.items():
        found = one["found"]
        datetime.fromisoformat(found["computed"])
        for kind in set(found) - {"computed"}:
            _ = int(found[kind]["images"]), float(found[kind][method] or 0)
        for kind in one["weights"] if method == Method.DICE else ():
            _ = [(int(case["version"]), float(case["dice"])) for case in one["cases"][kind].values()]
    return dict(kept)


def _numbers(scores: ScoredImages, saved: SavedLabel) -> list[int] | None:
    """Returns the numbers in a label map that say what a model outlines; None for all of them, as in pictures."""
    if scores.model.flat:
        return None
    return [int(number) for name, number in saved.info["labels"].items() if name.lower() in scores.model.labels]
