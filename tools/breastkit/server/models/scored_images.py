"""What a model makes of each image, to choose the next one: computed in the background, kept with the labels."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.active_learning import Pool, deepest_features, uncertainty_of
from breastkit.atomic import make_folder
from breastkit.datasets.duplicates import thumbnail
from breastkit.dicom import read_series
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.logs import get_logger
from breastkit.pictures import to_gray8
from breastkit.records import set_aside
from breastkit.server.models.inference_queue import BusyError, InferenceQueue
from breastkit.server.models.served_models import SegmentationModel
from breastkit.server.studies.remote_images import RemoteImages
from breastkit.server.studies.study_images import Form, StudyImage, StudyImages, frames_of, series_of
from breastkit.temporary import temporary_folder

_log = get_logger(__name__)
# Of a clip, evenly spread: neighbours hardly differ, and viewers wait meanwhile.
_FRAMES = 8
# Of a volume, evenly spread over its middle half: what lies at its ends is neck, belly and air.
_SLICES = 5
# Images of another server that are fetched to be scored, the first of the list: more would be a copy of it.
_FETCHED = 100
_TABLE = """CREATE TABLE IF NOT EXISTS scores (
    weights TEXT, image TEXT, uncertainty REAL, features BLOB, thumbnail BLOB, PRIMARY KEY (weights, image))"""


@dataclass(frozen=True)
class Score:
    """What a model makes of an image; of a clip, of the frame it is least sure of among some; of a volume, of slices.

    Attributes:
        uncertainty: from 0 to 1.
        features: of its deepest feature maps.
        thumbnail: by which near-duplicates are known, from 0 to 255.
    """

    uncertainty: float
    features: NDArray[Any]
    thumbnail: NDArray[Any]


def score_picture(model: SegmentationModel, gray: NDArray[Any]) -> Score:
    """Returns what a model makes of a gray picture."""
    bundle = model.opened()[0]
    image = bundle.preprocessing({"image": gray})["image"]
    _, features = deepest_features(bundle.network, image[None].as_tensor().to(bundle.device))
    uncertainty = uncertainty_of(model.probability(gray))
    # A byte a pixel: a store of ten thousand pictures is read in one go to choose the next.
    small = to_gray8(thumbnail(gray), percentiles=(0, 100))
    return Score(uncertainty, features[0].cpu().numpy().astype(np.float32), small)


def score_volume(model: SegmentationModel, path: Path) -> Score:
    """Returns what a model makes of a volume: the mean over some slices, and the thumbnail of the middle one.

    Args:
        model: reads volumes slice by slice.
        path: a NIfTI.
    """
    bundle = model.opened()[0]
    volume = bundle.preprocessing({"image": str(path)})["image"].as_tensor()
    last = volume.shape[-1] - 1
    chosen = np.unique(np.linspace(0.25 * last, 0.75 * last, _SLICES).round().astype(int))
    slices = volume[..., chosen].movedim(-1, 0)
    output, features = deepest_features(bundle.network, slices.to(bundle.device))
    probabilities = torch.sigmoid(output[:, 0]).cpu().numpy()
    small = to_gray8(thumbnail(slices[len(chosen) // 2, 0].numpy()), percentiles=(0, 100))
    uncertainty = float(np.mean([uncertainty_of(one) for one in probabilities]))
    return Score(uncertainty, features.mean(dim=0).cpu().numpy().astype(np.float32), small)


def pool_of(scores: Sequence[Score], labelled: Sequence[bool]) -> Pool:
    """Returns what is known of images as the choice of the next one takes it.

    Args:
        scores: one for each.
        labelled: whether each has a label.
    """
    return Pool(
        labelled=np.array(labelled, dtype=bool),
        uncertainty=np.array([one.uncertainty for one in scores]),
        features=np.stack([one.features for one in scores]),
        thumbnails=np.stack([one.thumbnail.ravel() for one in scores]),
    )


class ScoredImages:
    """Scores the pictures or the volumes of a store, one after the other, while nobody waits.

    Args:
        images: the images.
        model: outlines pictures or volumes; those that it reads are scored.
        queue: where inferences take their turn.
        path: the database in which scores are kept.
    """

    def __init__(self, images: StudyImages, model: SegmentationModel, queue: InferenceQueue, path: Path) -> None:
        self.images, self.model, self.queue, self.path = images, model, queue, path
        make_folder(path.parent)
        self._scoring: threading.Thread | None = None
        self._starting = threading.Lock()

    @property
    def kind(self) -> str:
        """What is scored, in words."""
        return "pictures" if self.model.flat else "volumes"

    def read_by_model(self) -> list[StudyImage]:
        """Returns the images of the kind that the model reads."""
        return [image for image in self.images.all().values() if image.form.is_flat == self.model.flat]

    def known(self) -> dict[str, Score]:
        """Returns the scores by image.

        They are of the weights in use; after other weights were promoted, of those before until as many images have
        been scored anew.
        """
        weights = self.model.version_of_weights()
        with self._database() as database:
            counts = dict(database.execute("SELECT weights, COUNT(features) FROM scores GROUP BY weights").fetchall())
            chosen = max(counts, key=lambda one: (counts[one], one == weights), default=weights)
            rows = database.execute(
                "SELECT image, uncertainty, features, thumbnail FROM scores WHERE weights = ? AND features NOT NULL",
                (chosen,),
            ).fetchall()
        return {
            image: Score(uncertainty, np.frombuffer(features, np.float32), np.frombuffer(small, np.uint8))
            for image, uncertainty, features, small in rows
        }

    def waiting(self) -> list[StudyImage]:
        """Returns the images that were not looked at with the weights in use."""
        return self._waiting_for(self.model.version_of_weights())

    def _waiting_for(self, weights: str) -> list[StudyImage]:
        with self._database() as database:
            done = {row[0] for row in database.execute("SELECT image FROM scores WHERE weights = ?", (weights,))}
        able = self.read_by_model()
        if isinstance(self.images, RemoteImages):
            able = able[:_FETCHED]
        return [image for image in able if image.id not in done]

    def score_in_background(self) -> None:
        """Scores what has no score yet, in a thread of its own, unless one is at it."""
        with self._starting:
            if self._scoring is None or not self._scoring.is_alive():
                self._scoring = threading.Thread(target=self.score_all, daemon=True)
                self._scoring.start()

    def score_all(self) -> None:
        """Scores what has no score yet; each takes its turn in the queue, so that a viewer waits for one at most."""
        for image in self.waiting():
            try:
                self.queue.run(partial(self.score, image))
            except BusyError:
                return
            except BreastkitError as error:
                # The server that holds them does not answer; it is asked again when the next image is.
                _log.warning("Images are not scored: %s", error)
                return
        self.forget_other_weights()

    def forget_other_weights(self) -> None:
        """Removes the scores of weights that are not in use, once every image is scored with those that are."""
        weights = self.model.version_of_weights()
        # Others may have been promoted while the last images were scored.
        if self._waiting_for(weights):
            return
        with self._database() as database:
            database.execute("DELETE FROM scores WHERE weights != ?", (weights,))

    def score(self, image: StudyImage) -> None:
        """Scores an image and keeps the score.

        Raises:
            BreastkitError: if the server that holds it does not give it.
        """
        weights = self.model.version_of_weights()
        image = self.images.fetched(image)
        try:
            self._keep(weights, image.id, self._score_of(image))
        except (BreastkitError, ValueError, RuntimeError) as error:
            _log.warning("%s has no score: %s", image.id, error)
            self._keep(weights, image.id, None)

    def _score_of(self, image: StudyImage) -> Score:
        if not self.model.flat:
            return self._score_of_volume(image)
        frames = frames_of(image)
        chosen = np.unique(np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int))
        pictures = [gray[window] for gray, window in (frames[number] for number in chosen)]
        scores = [score_picture(self.model, one) for one in pictures]
        return max(scores, key=lambda one: one.uncertainty)

    def _score_of_volume(self, image: StudyImage) -> Score:
        if image.form is Form.VOLUME:
            return score_volume(self.model, image.files[0])
        # Not kept as `StudyImages.file_of` does: most of a large store is never opened.
        with temporary_folder("volume") as folder:
            volume = read_series(series_of(image))
            return score_volume(self.model, write_nifti(folder / "volume.nii", volume.array, volume.affine))

    def _keep(self, weights: str, image: str, score: Score | None) -> None:
        """Keeps a score; None says that the image cannot be read, so that it is not tried over and over."""
        values: tuple[Any, ...] = (None, None, None)
        if score is not None:
            values = (score.uncertainty, score.features.tobytes(), score.thumbnail.tobytes())
        with self._database() as database:
            database.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", (weights, image, *values))

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connection()) as connection, connection:
            yield connection

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            connection.execute(_TABLE)
        except sqlite3.OperationalError:
            connection.close()
            raise
        except sqlite3.DatabaseError:
            # No database any more: what it held is computed again.
            connection.close()
            set_aside(self.path)
            connection = sqlite3.connect(self.path, timeout=60)
            connection.execute(_TABLE)
        return connection
