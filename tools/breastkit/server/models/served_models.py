"""The bundles as models that a viewer can run on an image of the store, loaded once and reloaded when they change."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from breastkit.bundle import bundle_folder
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.errors import BreastkitError
from breastkit.inference.opened_bundle import OpenedBundle
from breastkit.inference.ultrasound import (
    CLASSIFIER,
    NORMAL,
    SEGMENTER,
    UltrasoundReader,
    shipped_normal_classifier,
)
from breastkit.server.models.box_markups import Box
from breastkit.server.studies.study_images import PICTURE_AFFINE, StudyImage, frames_of
from breastkit.server.studies.study_phases import PhasesOf, phases_beside
from breastkit.training.weights import read_model_json

FileOf = Callable[[StudyImage], Path]
Chosen = Callable[[Path], Path]
# What the labels of the bundles show, by bundle's organ and label; a label without entry gets no codes of ours.
_KINDS = {
    ("breast", "breast"): SegmentKind.BREAST,
    ("breast", "lesion"): SegmentKind.BREAST_LESION,
    ("breast", "benign"): SegmentKind.BREAST_LESION,
    ("breast", "malignant"): SegmentKind.BREAST_NEOPLASM,
    ("brain", "tumour"): SegmentKind.BRAIN_NEOPLASM,
}


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    Attributes:
        labels: [column, row, slice], 0 and the numbers of the model's labels; None of a model that answers with boxes.
        affine: RAS+, of the image.
        says: further words and figures, for the client.
        boxes: around what was found, the highest score first, of models that find lesions.
    """

    labels: np.ndarray | None
    affine: np.ndarray
    says: dict[str, Any]
    boxes: tuple[Box, ...] = ()


class ServedModel(ABC):
    """A bundle, or a chain of them, as one model.

    Args:
        name: what clients call it.
        folder: of the bundle.
        task: ``segmentation``, ``classification`` or ``detection``.
        labels: numbers of the labels by name.
        flat: whether it reads picture by picture.
    """

    def __init__(self, name: str, folder: Path, *, task: str, labels: dict[str, int], flat: bool) -> None:
        self.name, self.folder, self.task, self.labels, self.flat = name, folder, task, labels, flat
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        self.description, self.version = str(metadata["description"]), str(metadata["version"])
        self.modality = str(metadata["network_data_format"]["inputs"]["image"]["modality"])
        self._opening = threading.Lock()
        self._opened: tuple[str, Any] = ("", None)

    @property
    def kinds(self) -> dict[str, SegmentKind]:
        """What the labels show, by name."""
        organ = self.folder.name.partition("_")[0]
        return {name: _KINDS[organ, name] for name in self.labels if (organ, name) in _KINDS}

    @property
    def colours(self) -> dict[str, list[int]]:
        """Red, green and blue of the labels, by name."""
        return {name: list(kind.codes.colour) for name, kind in self.kinds.items()}

    @abstractmethod
    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""

    def version_of_weights(self) -> str:
        """Returns the hashes of the weights."""
        return " ".join(str(read_model_json(path)["sha256"]) for path in self.weights())

    def opened(self) -> Any:
        """Returns the networks, loaded again if other weights have taken their place.

        Raises:
            BreastkitError: if weights are missing or damaged.
        """
        with self._opening:
            version = self.version_of_weights()
            if self._opened[0] != version:
                self._opened = (version, self.open())
            return self._opened[1]

    @abstractmethod
    def open(self) -> Any:
        """Loads the networks."""

    @abstractmethod
    def predict(self, image: StudyImage, file_of: FileOf, phases_of: PhasesOf = phases_beside) -> Prediction:
        """Runs the model on an image.

        Args:
            image: of a store, or lent.
            file_of: gives an image as one file, a NIfTI where it is a volume.
            phases_of: gives the phases of the study that an image belongs to.

        Raises:
            BreastkitError: if the image is not of a kind it reads.
        """

    def refuse_other_form(self, image: StudyImage) -> None:
        """Refuses volumes for a model of pictures, and the other way round.

        Raises:
            BreastkitError: if the image is not of a kind it reads.
        """
        if image.form.is_flat != self.flat:
            wanted, got = ("pictures", "a volume") if self.flat else ("volumes", "a picture")
            raise BreastkitError(f"{self.name} reads {wanted} and '{image.id}' is {got}; choose another model.")


class SegmentationModel(ServedModel):
    """A segmentation bundle, run through its own inference config.

    Args:
        folder: of the bundle.
        chosen: gives the weights in use.
        architecture: which one, where it is not the bundle's default.
    """

    def __init__(self, folder: Path, chosen: Chosen, architecture: str | None = None) -> None:
        name, labels = name_of(folder, architecture), label_numbers(folder)
        super().__init__(name, folder, task="segmentation", labels=labels, flat=reads_pictures(folder))
        self._own = own_weights(folder, architecture)
        self._chosen = chosen

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self._own or self._chosen(self.folder)]

    def open(self) -> tuple[OpenedBundle, Any]:
        """Loads the networks."""
        bundle = OpenedBundle(str(self.folder), weights=self.weights()[0])
        return bundle, bundle.part("postprocessing")

    def predict(self, image: StudyImage, file_of: FileOf, phases_of: PhasesOf = phases_beside) -> Prediction:
        """Runs the model on an image."""
        self.refuse_other_form(image)
        number = next(iter(self.labels.values()))
        if self.flat:
            masks = []
            for gray, window in frames_of(image):
                mask = np.zeros(gray.shape, np.uint8)
                mask[window] = self._mask(gray[window])
                masks.append(mask.T)
            return Prediction(np.stack(masks, axis=-1) * np.uint8(number), PICTURE_AFFINE, {})
        path = file_of(image)
        mask = self._mask(str(path)).astype(np.uint8)
        return Prediction(mask * np.uint8(number), np.asarray(nibabel.load(path).affine, dtype=np.float64), {})

    def probability(self, gray: np.ndarray) -> np.ndarray:
        """Returns the probability of every pixel of a picture to belong to what is outlined."""
        return self._finished(gray)["probability"][0].cpu().numpy()

    def _mask(self, source: Any) -> np.ndarray:
        return self._finished(source)["pred"][0].cpu().numpy() > 0

    def _finished(self, source: Any) -> dict[str, Any]:
        bundle, postprocessing = self.opened()
        prepared = bundle.preprocessing({"image": source})
        return postprocessing({**prepared, "pred": bundle.run(prepared)})


class UltrasoundDiagnosis(ServedModel):
    """The ultrasound chain as one model: the lesion's outline, called by its class.

    Args:
        chosen: gives the weights in use.
    """

    def __init__(self, chosen: Chosen) -> None:
        self._segmenter, folder = Path(bundle_folder(SEGMENTER)), Path(bundle_folder(CLASSIFIER))
        labels = {"benign": 1, "malignant": 2}
        super().__init__(folder.name, folder, task="classification", labels=labels, flat=True)
        self._chosen = chosen

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self._chosen(self._segmenter), self._chosen(self.folder), shipped_normal_classifier()]

    def open(self) -> UltrasoundReader:
        """Loads the networks."""
        segmenter, classifier, normal = self.weights()
        return UltrasoundReader.of_weights(segmenter=segmenter, classifier=classifier, normal_classifier=normal)

    def predict(self, image: StudyImage, file_of: FileOf, phases_of: PhasesOf = phases_beside) -> Prediction:
        """Runs the model on an image; of clips the class is that of the frame most likely malignant."""
        self.refuse_other_form(image)
        masks, readings = [], []
        for gray, window in frames_of(image):
            reading = self.opened().read(gray[window], explain=False)
            mask = np.zeros(gray.shape, np.uint8)
            if reading.label != NORMAL:
                mask[window] = reading.mask * np.uint8(self.labels[reading.label])
            masks.append(mask.T)
            readings.append(reading)
        worst = max(readings, key=lambda one: one.probabilities["malignant"])
        says = {
            "prediction": worst.label,
            "probabilities": worst.probabilities,
            "uncertainty": worst.uncertainty,
            "abstain": worst.abstain,
        }
        return Prediction(np.stack(masks, axis=-1), PICTURE_AFFINE, says)


def name_of(folder: Path, architecture: str | None) -> str:
    """Returns what the model of a bundle is called that has an architecture, the default one without."""
    return folder.name if architecture is None else f"{folder.name}_{architecture}"


def own_weights(folder: Path, architecture: str | None) -> Path | None:
    """Returns the weights of a bundle that are of an architecture beside the default one; None for the default."""
    return None if architecture is None else folder / "models" / architecture / "model.pt"


def label_numbers(folder: Path) -> dict[str, int]:
    """Returns the numbers of the labels of a segmentation bundle, by name."""
    metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    names = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    return {str(name).lower(): int(number) for number, name in names.items() if name != "background"}


def reads_pictures(folder: Path) -> bool:
    """Returns whether a segmentation bundle reads pictures, not volumes."""
    config = json.loads((folder / "configs" / "inference.json").read_text(encoding="utf-8"))
    first = config["preprocessing"]["transforms"][0]["_target_"]
    return first == "breastkit.transforms.LoadPictured"
