"""What saved labels are to each kind of bundle: which of them it learns from, in which form, and how it is measured."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cc3d
import numpy as np
from numpy.typing import NDArray

from breastkit.bundle import Bundle, Reads, Role
from breastkit.cases import CaseList, Item
from breastkit.datasets.dce_case import DceCase, DceRecipe, prepare_dce_case
from breastkit.datasets.lesion_regions import studies_of
from breastkit.dce.phases import DEFAULT_CHANNELS, read_phases
from breastkit.dce.voxel_box import VoxelBox
from breastkit.detection.boxes import compared
from breastkit.dicom import Series
from breastkit.images import read_gray, read_mask, read_volume, write_nifti, write_png
from breastkit.inference.mri_detection import LesionDetector
from breastkit.inference.ultrasound import NORMAL, LesionClassifier, Segmenter
from breastkit.logs import get_logger
from breastkit.metrics.classification import auc
from breastkit.metrics.froc import sensitivity_at
from breastkit.metrics.segmentation import dice
from breastkit.server.labels.label_files import base_name, labels_of
from breastkit.server.labels.label_phantoms import (
    breast_phantoms,
    head_phantoms,
    study_phantoms,
    ultrasound_phantoms,
)
from breastkit.server.labels.saved_labels import CLASSES, SavedLabel
from breastkit.server.models.served_models import SegmentationModel
from breastkit.server.studies.sessions import image_of_file
from breastkit.server.studies.study_images import StudyImage, frames_of
from breastkit.server.studies.study_phases import phases_in_store
from breastkit.server.studies.study_store import StudyStore
from breastkit.weights import add_facts, read_model_json

_log = get_logger(__name__)
# Overlap of boxes from which on a lesion counts as found, and false candidates a study that are let through: as the
# detection bundle's evaluation has them.
_HIT, _FALSE_A_STUDY = 0.1, 1.0
# Share of the slices without lesion that a detector learns from.
_NEGATIVES = 0.25
# From so many validation cases on everything is chosen anew.
_CHOOSES_FROM = 40


@dataclass(frozen=True)
class Answer:
    """What weights answer to one validation case.

    Attributes:
        patient: whose it is.
        value: how good it is, in the form that the use makes its figure of.
        is_empty: whether the truth shows nothing.
    """

    patient: str
    value: Any
    is_empty: bool = False


class LabelUse(ABC):
    """How one bundle uses labels.

    Args:
        bundle: which one.

    Attributes:
        measure: what weights are compared by; higher is better.
        unit: what the validation list holds.
        needs: what too few labels are answered with.
        kept: facts of weights that a handful of validation cases do not change.
        useful_from: the figure from which on weights are of use at all.
        chance: the figure of an answer that knows nothing.
    """

    measure: ClassVar[str] = "Dice"
    unit: ClassVar[str] = "validation pictures"
    needs: ClassVar[str] = "labels of at least two pictures of different patients"
    kept: ClassVar[tuple[str, ...]] = ()
    useful_from: ClassVar[float] = 0.5
    chance: ClassVar[float] = 0.0

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    @abstractmethod
    def takes(self, image: StudyImage, saved: SavedLabel) -> bool:
        """Returns whether a label says something to the bundle."""

    @abstractmethod
    def collect(self, store: StudyStore, image: StudyImage, saved: SavedLabel, stem: Path) -> list[Item]:
        """Returns items for what was labelled, while the store is at hand.

        Args:
            store: images and labels.
            image: one of them.
            saved: its label.
            stem: where files may be written, without suffix.
        """

    def finish(self, items: Sequence[Item], folder: Path) -> list[Item]:
        """Returns the items as the bundle's training reads them; what takes time is done here, after the request.

        Args:
            items: of one list, as they were collected.
            folder: to write to.
        """
        return list(items)

    def facts(self) -> dict[str, Any]:
        """Returns what the case list is to say of the set."""
        return {"name": "labels", "classes": list(CLASSES)}

    def is_enough(self, lists: Mapping[str, Sequence[Item]]) -> bool:
        """Returns whether there is something to learn from and something to measure with."""
        return all(lists.values())

    def count(self, cases: CaseList) -> int:
        """Returns how many of its units the validation list holds."""
        return len(cases.validation)

    def settle(self, run: Path, current: Path, cases: CaseList) -> None:
        """Gives a candidate those facts of the weights in use that so few cases are not enough to choose anew.

        Args:
            run: folder of the candidate.
            current: the weights in use.
            cases: what was trained and validated on.
        """
        if self.kept and self.count(cases) < _CHOOSES_FROM:
            facts = read_model_json(current)
            add_facts(run, **{name: facts[name] for name in self.kept if name in facts})

    @abstractmethod
    def answers(self, weights: Path, cases: CaseList) -> list[Answer]:
        """Returns what weights answer to each of the validation list, in an order that is the same for all weights."""

    def figure(self, answers: Sequence[Answer]) -> float:
        """Returns what answers come to, by the measure; their mean, unless a use says otherwise."""
        return float(np.mean([answer.value for answer in answers]))

    @abstractmethod
    def phantoms(self, folder: Path) -> list[Item]:
        """Returns items of phantoms whose truth is known, as `collect` returns those of labels.

        Args:
            folder: to write to.
        """


class PictureMasks(LabelUse):
    """Masks of pictures, for a bundle that outlines pictures."""

    def takes(self, image: StudyImage, saved: SavedLabel) -> bool:
        """Returns whether the image is a picture."""
        return image.form.is_flat

    def collect(self, store: StudyStore, image: StudyImage, saved: SavedLabel, stem: Path) -> list[Item]:
        """Writes pictures and masks; of a clip every frame."""
        shown, items = outlined_in(saved, labels_of(saved.path)), []
        for number, (gray, _) in enumerate(frames_of(image)):
            picture = write_png(stem.with_name(f"{stem.name}_{number:03d}.png"), gray)
            mask = shown[:, :, number].T.astype(np.uint8) * 255
            label = write_png(stem.with_name(f"{stem.name}_{number:03d}_label.png"), mask)
            item = {"image": str(picture), "label": str(label)}
            items.append({**item, "class": saved.info["class"]} if saved.info["class"] else item)
        return items

    def answers(self, weights: Path, cases: CaseList) -> list[Answer]:
        """Returns the Dice of the validation items."""
        model = SegmentationModel(self.bundle, weights=weights)
        reached = []
        for item in cases.validation:
            found, _ = model.outlined(image_of_file(Path(item["image"])), lambda image: image.files[0])
            truth = labels_of(Path(item["label"])) > 0
            reached.append(Answer(item["case"], dice(found > 0, truth), not truth.any()))
        return reached

    def phantoms(self, folder: Path) -> list[Item]:
        """Returns ultrasound pictures or slices of a head."""
        return ultrasound_phantoms(folder) if self.bundle.modality == "US" else head_phantoms(folder)


class VolumeMasks(PictureMasks):
    """Masks of volumes that are called as the bundle's label is, for a bundle that outlines volumes."""

    unit = "validation volumes"
    needs = "labels of at least two volumes of different patients, with a segment called as the model's label is"

    def takes(self, image: StudyImage, saved: SavedLabel) -> bool:
        """Returns whether the image is a volume and a label is called so."""
        return not image.form.is_flat and bool(numbers_called(saved, self._names()))

    def collect(self, store: StudyStore, image: StudyImage, saved: SavedLabel, stem: Path) -> list[Item]:
        """Returns the volume as it is, and its label map with the numbers that count."""
        numbers = numbers_called(saved, self._names())
        return [{"image": str(store.images.file_of(image)), "label": str(saved.path), "numbers": numbers}]

    def finish(self, items: Sequence[Item], folder: Path) -> list[Item]:
        """Writes the masks of what counts."""
        finished = []
        for item in items:
            mask = write_mask(item, folder / "labels")
            finished.append({name: value for name, value in item.items() if name != "numbers"} | {"label": str(mask)})
        return finished

    def phantoms(self, folder: Path) -> list[Item]:
        """Returns volumes with their breasts."""
        return breast_phantoms(folder)

    def _names(self) -> frozenset[str]:
        return frozenset(self.bundle.purpose.labels)


class PictureClasses(PictureMasks):
    """The classes annotators set, for the classifier of lesions.

    The masks it looks at are outlined by the segmenter as it was shipped: it has not seen the annotators' pictures,
    which one that was trained from the viewer may have, and its masks have the faults that masks have when it is used.
    """

    measure = "AUC"
    needs = "pictures of at least two patients for each class, called benign or malignant"
    useful_from, chance = 0.7, 0.5
    # The operating point, and what belongs to it.
    kept = ("threshold", "temperature", "operating_point", "abstain_above")

    def takes(self, image: StudyImage, saved: SavedLabel) -> bool:
        """Returns whether the image is a picture of a class the classifier tells."""
        return image.form.is_flat and saved.info["class"] in self._classes()

    def finish(self, items: Sequence[Item], folder: Path) -> list[Item]:
        """Adds the predicted masks."""
        segmenter, finished = self.bundle.used("segmenter"), []
        outline = Segmenter(segmenter.shipped_weights, bundle=segmenter)
        for item in items:
            mask, _ = outline(read_gray(item["image"]))
            path = write_png(folder / "masks" / Path(item["image"]).name, mask.astype(np.uint8) * 255)
            finished.append({**item, "predicted_mask": str(path), "predicted_by": segmenter.name})
        return finished

    def is_enough(self, lists: Mapping[str, Sequence[Item]]) -> bool:
        """Returns whether both lists hold every class."""
        return all({item["class"] for item in items} == set(self._classes()) for items in lists.values())

    def answers(self, weights: Path, cases: CaseList) -> list[Answer]:
        """Returns probabilities and true class of the validation pictures."""
        classifier = LesionClassifier(weights, bundle=self.bundle)
        found = []
        for item in cases.validation:
            mask = read_mask(item["predicted_mask"]) > 0
            told, _ = classifier.classify(classifier.prepare(read_gray(item["image"]), mask))
            value = list(told.values()), classifier.classes.index(item["class"])
            found.append(Answer(item["case"], value))
        return found

    def figure(self, answers: Sequence[Answer]) -> float:
        """Returns the area under the ROC curve."""
        probabilities, labels = zip(*(answer.value for answer in answers), strict=True)
        return auc(np.array(probabilities), np.array(labels))

    def phantoms(self, folder: Path) -> list[Item]:
        """Returns ultrasound pictures of both classes."""
        return ultrasound_phantoms(folder)

    def _classes(self) -> list[str]:
        facts = read_model_json(self.bundle.shipped_weights)
        return list(facts["classes"])


class StudyLesions(LabelUse):
    """Lesions outlined in a phase of a dynamic study, as slices with masks and boxes."""

    unit = "validation studies"
    needs = (
        "lesions outlined in at least two studies of different patients, each with its phase before contrast and the "
        "first one after it"
    )
    _names: ClassVar = frozenset(("lesion", "benign", "malignant"))

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self._scans: dict[str, Any] = {}
        self._numbers = itertools.count()

    def takes(self, image: StudyImage, saved: SavedLabel) -> bool:
        """Returns whether the image is a volume and a label is called lesion, benign or malignant."""
        numbers = numbers_called(saved, self._names)
        return not image.form.is_flat and any(str(number) in saved.info["voxels"] for number in numbers)

    def collect(self, store: StudyStore, image: StudyImage, saved: SavedLabel, stem: Path) -> list[Item]:
        """Returns the phases as files, and the label map with the numbers that count."""
        phases = [
            str(store.images.file_of(store.images.get(phase.uid)) if isinstance(phase, Series) else phase)
            for phase in phases_in_store(store.images, image).all[:2]
        ]
        return [{"image": phases, "label": str(saved.path), "numbers": numbers_called(saved, self._names)}]

    def finish(self, items: Sequence[Item], folder: Path) -> list[Item]:
        """Writes slices with masks and boxes; a study labelled on several phases counts once, as labelled last."""
        by_study = {tuple(item["image"]): item for item in items}
        finished: list[Item] = []
        recipe = DceRecipe(folder.absolute(), self._slice_size(), DEFAULT_CHANNELS, 0)
        for phases, item in by_study.items():
            name = f"study_{next(self._numbers):04d}"
            case = DceCase(name, tuple(map(Path, phases)), write_mask(item, folder / "studies"))
            prepared = prepare_dce_case((case, _NEGATIVES), recipe=recipe)
            if prepared.problem:
                _log.warning("A study is left out: %s", prepared.problem)
                continue
            self._scans[name] = {**prepared.scan, "patient": item["case"]}
            finished += prepared.items(recipe.out)
        return finished

    def facts(self) -> dict[str, Any]:
        """Returns what the case list is to say of the set: the studies that its slices come from."""
        return {
            "name": "labels",
            "image_size": self._slice_size(),
            "channels": DEFAULT_CHANNELS,
            "scans": self._scans,
        }

    def phantoms(self, folder: Path) -> list[Item]:
        """Returns studies with a lesion."""
        return study_phantoms(folder)

    def count(self, cases: CaseList) -> int:
        """Returns how many studies the validation slices come from."""
        return len({item["case"] for item in cases.validation})

    def _slice_size(self) -> int:
        facts = read_model_json(self.bundle.shipped_weights)
        return int(facts.get("slice_size", facts["image_size"]))


class StudyBoxes(StudyLesions):
    """Boxes of the lesions, for the detector."""

    measure = "sensitivity at one false candidate a study"

    def answers(self, weights: Path, cases: CaseList) -> list[Answer]:
        """Returns what is found in the validation studies."""
        detector = LesionDetector(weights, bundle=self.bundle)
        findings = []
        for study in studies_of(cases, cases.validation):
            phases, labels = read_phases(study["image"]), read_volume(study["label"], mask=True).array
            truth = [VoxelBox.around(part, phases.grid).edges for part in _parts(labels)]
            found = detector(phases)
            scores, edges = [lesion.score for lesion in found], [lesion.box.edges for lesion in found]
            patient = cases.facts["scans"][study["case"]]["patient"]
            findings.append(Answer(patient, compared(scores, edges, truth, hit=_HIT), not truth))
        return findings

    def figure(self, answers: Sequence[Answer]) -> float:
        """Returns the share of lesions found at one false candidate a study."""
        return sensitivity_at([answer.value for answer in answers], _FALSE_A_STUDY)


class StudyRegions(StudyLesions):
    """Outlines of the lesions, for the segmenter of regions."""

    def answers(self, weights: Path, cases: CaseList) -> list[Answer]:
        """Returns the Dice of the validation studies, with the boxes of the true lesions."""
        bundle = self.bundle.opened(weights=weights, boxes="true")
        finish, reached = bundle.part("postprocessing"), []
        for study in studies_of(cases, cases.validation):
            prepared = bundle.preprocessing(dict(study))
            finished = finish({**prepared, "pred": bundle.run(prepared)})
            truth = read_volume(study["label"], mask=True).array > 0
            value = dice(finished["pred"][0].cpu().numpy() > 0, truth)
            reached.append(Answer(cases.facts["scans"][study["case"]]["patient"], value, not truth.any()))
        return reached


_USES: dict[tuple[Role, Reads], type[LabelUse]] = {
    (Role.SEGMENTATION, Reads.PICTURE): PictureMasks,
    (Role.SEGMENTATION, Reads.VOLUME): VolumeMasks,
    (Role.CLASSIFICATION, Reads.PICTURE): PictureClasses,
    (Role.DETECTION, Reads.STUDY): StudyBoxes,
    (Role.REGION_SEGMENTATION, Reads.STUDY): StudyRegions,
}


def use_of(bundle: Bundle) -> LabelUse:
    """Returns how a bundle uses labels."""
    return _USES[bundle.purpose.role, bundle.purpose.reads](bundle)


def numbers_called(saved: SavedLabel, names: frozenset[str]) -> list[int]:
    """Returns the numbers of a label whose names are among some."""
    return [int(number) for name, number in saved.info["labels"].items() if base_name(name) in names]


def outlined_in(saved: SavedLabel, labels: NDArray[Any]) -> NDArray[Any]:
    """Returns what of a picture's label map outlines something: all but what is called normal."""
    return (labels > 0) & ~np.isin(labels, numbers_called(saved, frozenset((NORMAL,))))


def write_mask(item: Item, folder: Path) -> Path:
    """Writes what counts of an item's label map as a mask on its own grid, and returns its path."""
    import nibabel

    image = nibabel.Nifti1Image.from_filename(item["label"])
    mask = np.isin(np.asarray(image.dataobj), item["numbers"]).astype(np.uint8)
    place = Path(item["label"])
    # Every image has its folder, in which versions are numbered.
    whose = hashlib.sha256(place.parent.name.encode()).hexdigest()[:16]
    return write_nifti(folder / f"{whose}_{place.name}", mask, image.affine)


def _parts(mask: NDArray[Any]) -> list[NDArray[Any]]:
    parts = cc3d.connected_components(np.ascontiguousarray(mask > 0), connectivity=26)
    return [parts == number for number in range(1, int(parts.max()) + 1)]
