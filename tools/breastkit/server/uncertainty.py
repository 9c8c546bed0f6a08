"""How unsure a model is of each picture: computed in the background, kept with the labels, to choose the next one."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np

from breastkit.atomic import write_json
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.inference_queue import BusyError, InferenceQueue
from breastkit.server.served_models import SegmentationModel
from breastkit.server.study_images import StudyImage, StudyImages, frames_of

_log = get_logger(__name__)
# Pixels that are surely outside say nothing; without this share a large picture would look surer than a small one.
_IN_QUESTION = 0.05


def uncertainty_of(probability: np.ndarray) -> float:
    """Returns how unsure an outline is: 0 where every pixel in question is sure, 1 where every one is undecided.

    Args:
        probability: of every pixel to belong to the lesion, the mean of all networks asked.
    """
    asked = probability[probability > _IN_QUESTION]
    return float(np.mean(4 * asked * (1 - asked))) if asked.size else 0.0


class UncertaintyScores:
    """Scores the pictures of a store, one after the other, while nobody waits.

    Args:
        images: the images.
        model: outlines pictures.
        queue: where inferences take their turn.
        path: where scores are kept.
    """

    def __init__(self, images: StudyImages, model: SegmentationModel, queue: InferenceQueue, path: Path) -> None:
        self.images, self.model, self.queue, self.path = images, model, queue, path
        self._scoring: threading.Thread | None = None
        self._starting = threading.Lock()

    def known(self) -> dict[str, float]:
        """Returns the scores by image, of the weights in use."""
        if not self.path.is_file():
            return {}
        kept = json.loads(self.path.read_text(encoding="utf-8"))
        return dict(kept["scores"]) if kept["weights"] == self.model.version_of_weights() else {}

    def score_in_background(self) -> None:
        """Scores what has no score yet, in a thread of its own, unless one is at it."""
        with self._starting:
            if self._scoring is None or not self._scoring.is_alive():
                self._scoring = threading.Thread(target=self.score_all, daemon=True)
                self._scoring.start()

    def score_all(self) -> None:
        """Scores what has no score yet; each takes its turn in the queue, so that a viewer waits for one at most."""
        weights, scores = self.model.version_of_weights(), self.known()
        for image in self.images.all().values():
            if image.id in scores or not image.form.is_flat:
                continue
            try:
                chosen = self.images.get(image.id)
                scores[image.id] = self.queue.run(lambda chosen=chosen: self._score(chosen))
            except BusyError:
                return
            except BreastkitError as error:
                _log.warning("%s has no score: %s", image.id, error)
                # The least sure cannot be what cannot be read.
                scores[image.id] = -1.0
            write_json(self.path, {"weights": weights, "scores": scores})

    def _score(self, image: StudyImage) -> float:
        # Of a clip the least sure frame counts.
        return max(uncertainty_of(self.model.probability(gray[window])) for gray, window in frames_of(image))
