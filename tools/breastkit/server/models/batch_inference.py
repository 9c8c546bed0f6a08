"""A model over many images of the store: its outlines kept as its own labels, an image at a time between the viewers'.

What a model made with the weights in use is not made again, so that a batch that was stopped, or whose server was
killed, goes on where it was when it is started again.
"""

from __future__ import annotations

import threading
from enum import StrEnum
from functools import partial
from typing import Any

from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.labels.saved_labels import FINAL, SavedLabel
from breastkit.server.models.inference_queue import BusyError, InferenceQueue
from breastkit.server.models.served_models import Prediction, ServedModel
from breastkit.server.security.shown_sentences import without_folders
from breastkit.server.studies.study_images import Grid, StudyImage
from breastkit.server.studies.study_phases import phases_in_store
from breastkit.server.studies.study_store import StudyStore

_log = get_logger(__name__)
# Seconds until it is tried again where too many inferences wait.
_PATIENCE = 2.0


class Images(StrEnum):
    """Which images a batch is of."""

    ALL = "all"
    LABELED = "labeled"
    UNLABELED = "unlabeled"


def keep_prediction(
    store: StudyStore, image: StudyImage, prediction: Prediction, model: ServedModel, *, tag: str, user: str = ""
) -> SavedLabel:
    """Saves what a model outlines as a label of an image of the store.

    Raises:
        BreastkitError: if the model answers without outlines, or the label cannot be saved.
    """
    if prediction.labels is None:
        raise BreastkitError(f"{model.name} answers with boxes, which are no label; choose a model that outlines.")
    columns, rows, slices = prediction.labels.shape
    grid = Grid((columns, rows, slices), prediction.affine)
    made_by = _maker(model)
    return store.labels.save(image.id, prediction.labels, grid, tag=tag, names=model.labels, user=user, made_by=made_by)


def _maker(model: ServedModel) -> dict[str, str]:
    return {"model": model.name, "weights": model.version_of_weights()}


class BatchInference:
    """Runs one batch at a time, in a thread.

    Args:
        store: images and labels.
        queue: where inferences take their turn.
    """

    def __init__(self, store: StudyStore, queue: InferenceQueue) -> None:
        self.store, self.queue = store, queue
        self._starting, self._stopping = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._state: dict[str, Any] = {"status": "NONE"}

    def state(self) -> dict[str, Any]:
        """Returns what the latest batch does: NONE, RUNNING, DONE, ERROR or STOPPED, how far it is and what failed."""
        return dict(self._state)

    def start(
        self, model: ServedModel, images: Images, *, tag: str, most: int = 0, user: str = "", wait: bool = False
    ) -> dict[str, Any]:
        """Starts a batch and returns its state.

        Args:
            model: what runs.
            images: on which.
            tag: under which its labels are kept.
            most: so many images at most; 0 for all.
            user: who asks.
            wait: until it is done.

        Raises:
            BreastkitError: if one is running, or the labels would pass for an annotator's.
        """
        if tag == FINAL:
            raise BreastkitError(f"'{FINAL}' is for labels of annotators, from which models learn; choose another tag.")
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                raise BreastkitError("A batch is running; stop it or wait.")
            chosen = self._chosen(model, images)
            chosen = chosen[:most] if most else chosen
            self._stopping.clear()
            self._state = {"model": model.name, "done": 0, "total": len(chosen), "failed": {}}
            self._say("RUNNING", "Running.")
            run = partial(self._run, model, chosen, tag, user)
            self._thread = thread = threading.Thread(target=run, daemon=True)
            thread.start()
        if wait:
            thread.join()
        return self.state()

    def stop(self) -> dict[str, Any]:
        """Stops a running batch after the image it is at, and returns the state."""
        self._stopping.set()
        if (thread := self._thread) is not None:
            thread.join()
        return self.state()

    def _chosen(self, model: ServedModel, images: Images) -> list[StudyImage]:
        names = {
            Images.ALL: self.store.images.all,
            Images.LABELED: self.store.labelled,
            Images.UNLABELED: self.store.unlabelled,
        }[images]()
        there = self.store.images.all()
        return [there[name] for name in names if name in there and model.suits(there[name])]

    def _run(self, model: ServedModel, images: list[StudyImage], tag: str, user: str) -> None:
        try:
            for image in images:
                if not self._is_made(model, image, tag):
                    self._make(model, image, tag, user)
                if self._stopping.is_set():
                    self._say("STOPPED", "Stopped; started again it goes on from here.")
                    return
                self._state = {**self._state, "done": self._state["done"] + 1}
                self._say("RUNNING", "Running.")
            self._say("DONE", f"Done, {len(self._state['failed'])} failed.")
        except Exception:  # whoever waits must be told
            _log.exception("A batch of %s failed", model.name)
            self._say("ERROR", "The batch failed; the server's log says why.")

    def _make(self, model: ServedModel, image: StudyImage, tag: str, user: str) -> None:
        """Runs the model on an image and keeps what it outlines; one that cannot be read is told and passed over."""
        phases_of = partial(phases_in_store, self.store.images)
        while not self._stopping.is_set():
            try:
                fetched = self.store.images.fetched(image)
                predict = partial(model.predict, fetched, self.store.images.file_of, phases_of)
                keep_prediction(self.store, image, self.queue.run(predict), model, tag=tag, user=user)
                return
            except BusyError:
                self._stopping.wait(_PATIENCE)
            except BreastkitError as error:
                why = without_folders(str(error))
                self._state = {**self._state, "failed": {**self._state["failed"], image.id: why}}
                return

    def _is_made(self, model: ServedModel, image: StudyImage, tag: str) -> bool:
        saved = self.store.labels.current(image.id, tag)
        return saved is not None and saved.info.get("made_by") == _maker(model)

    def _say(self, status: str, says: str) -> None:
        done, total = self._state["done"], self._state["total"]
        told = {"status": status, "says": says, "details": [says], "progress": done / total if total else 1.0}
        self._state = {**self._state, **told}
