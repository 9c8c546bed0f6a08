"""The bundles as models that a viewer can run on an image of the store, loaded once and reloaded when they change."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.bundle import Answers, Bundle, Reads
from breastkit.detection.boxes_file import Detection
from breastkit.dicom.segment_kinds import SegmentCodes
from breastkit.errors import BreastkitError, sentence_of
from breastkit.findings.study_findings import StudyFindings
from breastkit.images import read_header
from breastkit.inference.calibration import read_calibration
from breastkit.inference.ultrasound import NORMAL, UltrasoundReader, weights_that_say_normal
from breastkit.inference.ultrasound_inputs import find_ultrasound, read_ultrasound
from breastkit.opened_bundle import OpenedBundle
from breastkit.pipelines.ultrasound import examine
from breastkit.server.labels.label_kinds import kinds_of
from breastkit.server.security.decompressed_sizes import refuse_large_volume
from breastkit.server.studies.study_images import Frames, StudyImage, frames_of, is_small
from breastkit.server.studies.study_phases import PhasesOf, phases_beside
from breastkit.weights import read_model_json

FileOf = Callable[[StudyImage], Path]
_TASKS = {Answers.MASK: "segmentation", Answers.BOXES: "detection", Answers.CLASS: "classification"}


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image.

    Attributes:
        labels: [column, row, slice], 0 and the numbers of the model's labels; None of a model that answers with boxes.
        affine: RAS+, of the image.
        says: further words and figures, for the client.
        boxes: around what was found, the highest score first, of models that find lesions.
    """

    labels: NDArray[Any] | None
    affine: NDArray[Any]
    says: dict[str, Any]
    boxes: tuple[Detection, ...] = ()


class ServedModel(ABC):
    """A bundle, or a chain of them, as one model.

    Args:
        bundle: which one, of a chain the last.
        name: what clients call it; as the bundle by default.
        description: what viewers are told; that of the bundle by default.

    Attributes:
        task: ``segmentation``, ``classification`` or ``detection``.
        labels: numbers of the labels by name.
        flat: whether it reads picture by picture.
    """

    def __init__(self, bundle: Bundle, *, name: str = "", description: str = "") -> None:
        self.bundle, self.name = bundle, name or bundle.name
        self.task, self.flat = _TASKS[bundle.purpose.answers], bundle.purpose.reads is Reads.PICTURE
        self.labels = {name: label.number for name, label in bundle.purpose.labels.items()}
        self.description = description or str(bundle.metadata["description"])
        self.version, self.modality = str(bundle.metadata["version"]), bundle.modality
        self._opening = threading.Lock()
        self._opened: tuple[str, Any] = ("", None)

    @property
    def kinds(self) -> dict[str, SegmentCodes]:
        """What the labels show, by name, of those that are coded."""
        return kinds_of(self.bundle)

    @property
    def told_labels(self) -> dict[str, int]:
        """The labels as clients are told of them, by name."""
        return self.labels

    @property
    def colours(self) -> dict[str, list[int]]:
        """Red, green and blue of the labels, by name."""
        labels = self.bundle.purpose.labels
        return {name: list(label.colour) for name, label in labels.items() if label.colour}

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

    def findings(self, image: StudyImage, phases_of: PhasesOf = phases_beside) -> Iterator[StudyFindings]:
        """Yields what `breastkit run` finds in an image, of models that are its pipelines.

        Args:
            image: see `predict`.
            phases_of: see `predict`.

        Raises:
            BreastkitError: if it is no such model, or the image is not of a kind it reads.
        """
        raise BreastkitError(f"{self.name} outlines and reports nothing; ask a model that measures what it finds.")

    def suits(self, image: StudyImage) -> bool:
        """Returns whether an image is of the form and modality it was made for."""
        return (image.form.is_flat, image.modality) == (self.flat, self.modality)

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
        bundle: which one.
        architecture: of further weights it ships, in place of those in use.
        weights: others than those in use.
    """

    def __init__(self, bundle: Bundle, architecture: str | None = None, *, weights: Path | None = None) -> None:
        super().__init__(bundle, name=name_of(bundle, architecture))
        self._own = weights or (bundle.further_weights[architecture] if architecture else None)

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self._own or self.bundle.weights_in_use]

    def open(self) -> tuple[OpenedBundle, Any]:
        """Loads the networks."""
        opened = self.bundle.opened(weights=self.weights()[0])
        return opened, opened.part("postprocessing")

    def predict(self, image: StudyImage, file_of: FileOf, phases_of: PhasesOf = phases_beside) -> Prediction:
        """Runs the model on an image."""
        return Prediction(*self.outlined(image, file_of), {})

    def outlined(self, image: StudyImage, file_of: FileOf) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns the label map of an image and its affine.

        Raises:
            BreastkitError: if the image is not of a kind it reads.
        """
        self.refuse_other_form(image)
        if self.flat:
            frames = frames_of(image)
            # One by one: a clip's frames may be large.
            masks = [self._masks([gray[window]])[0] for gray, window in frames]
            return label_map(masks, frames, self._number), image.affine
        path = file_of(image)
        refuse_large_volume(path)
        (mask,) = self._masks([str(path)])
        return mask * np.uint8(self._number), np.asarray(read_header(path).affine, dtype=np.float64)

    def takes_together(self, image: StudyImage) -> bool:
        """Returns whether `predict_together` takes an image.

        Raises:
            BreastkitError: if it cannot be read.
        """
        return self.flat and image.form.is_flat and is_small(image)

    def predict_together(self, images: Sequence[StudyImage]) -> list[Prediction]:
        """Runs the model on several small pictures in one call of the network.

        Raises:
            BreastkitError: if one of them cannot be read.
        """
        frames = [frames_of(image) for image in images]
        masks = iter(self._masks([gray[window] for own in frames for gray, window in own]))
        maps = [label_map([next(masks) for _ in own], own, self._number) for own in frames]
        return [Prediction(labels, image.affine, {}) for labels, image in zip(maps, images, strict=True)]

    def probability(self, gray: NDArray[Any]) -> NDArray[Any]:
        """Returns the probability of every pixel of a picture to belong to what is outlined."""
        (finished,) = self._finished([gray])
        probability: NDArray[Any] = finished["probability"][0].cpu().numpy()
        return probability

    @property
    def _number(self) -> int:
        return next(iter(self.labels.values()))

    def _masks(self, sources: Sequence[Any]) -> list[NDArray[Any]]:
        return [(one["pred"][0].cpu().numpy() > 0).astype(np.uint8) for one in self._finished(sources)]

    def _finished(self, sources: Sequence[Any]) -> list[dict[str, Any]]:
        """Returns what the bundle makes of pictures, or of one volume, in one call of the network."""
        bundle, postprocessing = self.opened()
        try:
            prepared = [bundle.preprocessing({"image": source}) for source in sources]
        except RuntimeError as error:
            # MONAI wraps what a reader says of a file.
            if (said := sentence_of(error)) is None:
                raise
            raise BreastkitError(said) from error
        outputs = bundle.run_all(prepared)
        return [postprocessing({**one, "pred": output}) for one, output in zip(prepared, outputs, strict=True)]


class UltrasoundDiagnosis(ServedModel):
    """A classification bundle with the segmentation bundle it uses: the lesion's outline, called by its class.

    Args:
        bundle: the classification bundle.
        calibration: the file of a calibration; the weights it was fitted for are then the only ones it runs with.
    """

    def __init__(self, bundle: Bundle, *, calibration: str | Path | None = None) -> None:
        super().__init__(bundle)
        self.calibration = read_calibration(calibration) if calibration else None

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        outlines = self.bundle.used("segmenter").weights_in_use
        return [outlines, self.bundle.weights_in_use, weights_that_say_normal(self.bundle)]

    def open(self) -> UltrasoundReader:
        """Loads the networks."""
        segmenter, classifier, normal = self.weights()
        return UltrasoundReader.of_bundle(
            self.bundle,
            segmenter=segmenter,
            classifier=classifier,
            normal_classifier=normal,
            calibration=self.calibration,
        )

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
            "suspicious": worst.suspicious,
            "probabilities": worst.probabilities,
            "uncertainty": worst.uncertainty,
            "abstain": worst.abstain,
            "unfamiliar": worst.unfamiliar,
            "calibration": self.calibration.sha256[:12] if self.calibration else None,
        }
        return Prediction(np.stack(masks, axis=-1), image.affine, says)

    def findings(self, image: StudyImage, phases_of: PhasesOf = phases_beside) -> Iterator[StudyFindings]:
        """Yields what `breastkit run us` finds in the picture, or in every frame of the clip."""
        self.refuse_other_form(image)
        # Refuses what is too large or no picture.
        frames_of(image)
        reader: UltrasoundReader = self.opened()
        for item in (item for path in image.files for item in find_ultrasound(path).items):
            yield examine(
                read_ultrasound(item),
                reader,
                name=item["name"],
                file=item["file"],
                source=Path(item["image"]),
                frame=item.get("frame"),
            )


def name_of(bundle: Bundle, architecture: str | None) -> str:
    """Returns what the model of a bundle is called that has an architecture, the default one without."""
    return bundle.name if architecture is None else f"{bundle.name}_{architecture}"


def label_map(masks: Sequence[NDArray[Any]], frames: Frames, number: int) -> NDArray[np.uint8]:
    """Returns the label map of a picture or clip, of the masks of what its frames show of tissue.

    Args:
        masks: one of each frame.
        frames: the pictures, and where they show tissue.
        number: of the label.
    """
    labels = np.zeros((*frames[0][0].shape, len(frames)), np.uint8)
    for position, (mask, (_, window)) in enumerate(zip(masks, frames, strict=True)):
        labels[(*window, position)] = mask * np.uint8(number)
    return labels.swapaxes(0, 1)
