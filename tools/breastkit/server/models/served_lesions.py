"""Models of lesions in dynamic breast MRI: the chain, the detector and the segmenter, over the phases of a study."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.dce.phases import DcePhases, read_phases
from breastkit.dce.series import StudyPhases
from breastkit.inference.mri_detection import BUNDLE as DETECTOR
from breastkit.inference.mri_detection import LesionDetector
from breastkit.inference.opened_bundle import OpenedBundle
from breastkit.pipelines.mri import BREASTS, SEGMENTER, open_breasts, outline_breasts, outline_lesions
from breastkit.server.models.box_markups import box_of, boxes_told
from breastkit.server.models.served_models import Chosen, FileOf, Prediction, ServedModel, name_of, own_weights
from breastkit.server.studies.study_images import StudyImage
from breastkit.server.studies.study_phases import PhasesOf, phases_beside

CHAIN = "breast_mri_lesions"
_LESION = "lesion"
# More candidates than this are noise; 'breastkit run mri' and the detection bundle look at as many.
_MOST = 4
_CHAIN_SAYS = (
    "Two stages: the detector finds lesions in the phases before and after contrast, the segmenter outlines those that "
    "touch a breast. For research, not for diagnosis."
)


class StudyModel(ServedModel):
    """A model that reads the phases of a study, whichever of them it is asked for.

    Args:
        name: what clients call it.
        folder: of the bundle.
        task: ``segmentation`` or ``detection``.
        chosen: gives the weights in use.
        description: what viewers are told; that of the bundle by default.
    """

    def __init__(self, name: str, folder: Path, *, task: str, chosen: Chosen, description: str = "") -> None:
        super().__init__(name, folder, task=task, labels={_LESION: 1}, flat=False)
        self.description = description or self.description
        self._chosen = chosen

    def predict(self, image: StudyImage, file_of: FileOf, phases_of: PhasesOf = phases_beside) -> Prediction:
        """Runs the model on the study that an image is a phase of; the answer lies on the grid they share."""
        self.refuse_other_form(image)
        found = phases_of(image)
        phases = read_phases(found.all[:2])
        prediction = self.find(phases)
        return Prediction(prediction.labels, phases.affine, {**_read(found), **prediction.says}, prediction.boxes)

    @abstractmethod
    def find(self, phases: DcePhases) -> Prediction:
        """Returns what the networks find in a study."""

    def boxed(self, lesions: list[dict[str, Any]], phases: DcePhases, labels: np.ndarray | None) -> Prediction:
        """Returns lesions as boxes, and their label map where there is one."""
        boxes = tuple(box_of(lesion, phases.affine) for lesion in lesions)
        told = boxes_told(boxes, label=_LESION, number=self.labels[_LESION])
        return Prediction(labels, phases.affine, told, boxes)


class LesionChain(StudyModel):
    """The chain of ``breastkit run mri`` as one model: lesions in the breasts, found and outlined.

    Args:
        bundles: the folder of the bundles.
        chosen: gives the weights in use.
    """

    def __init__(self, bundles: Path, chosen: Chosen) -> None:
        self._breasts, self._detector = bundles / BREASTS, bundles / DETECTOR
        folder = bundles / SEGMENTER
        super().__init__(CHAIN, folder, task="segmentation", chosen=chosen, description=_CHAIN_SAYS)

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self._chosen(folder) for folder in (self.folder, self._detector, self._breasts)]

    def open(self) -> tuple[OpenedBundle, LesionDetector, OpenedBundle]:
        """Loads the networks."""
        segmenter, detector, breasts = self.weights()
        return (
            OpenedBundle(str(self.folder), weights=segmenter),
            LesionDetector(detector),
            open_breasts(str(self._breasts), weights=breasts),
        )

    def find(self, phases: DcePhases) -> Prediction:
        """Returns the outlines of the lesions, with scores and boxes around what is outlined."""
        segmenter, detector, breasts = self.opened()
        breast = outline_breasts(phases, breasts)
        lesions = outline_lesions(detector(phases, most=_MOST, breast=breast), phases, segmenter)
        labels = np.zeros(phases.shape, np.uint8)
        found = []
        for lesion in lesions:
            labels[lesion.mask] = self.labels[_LESION]
            found.append({"score": lesion.score, **_bounds(lesion.mask)})
        return self.boxed(found, phases, labels)


class LesionDetection(StudyModel):
    """The detector alone: boxes with scores, no outlines.

    Args:
        folder: of the bundle.
        chosen: gives the weights in use.
    """

    def __init__(self, folder: Path, chosen: Chosen) -> None:
        super().__init__(folder.name, folder, task="detection", chosen=chosen)

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self._chosen(self.folder)]

    def open(self) -> LesionDetector:
        """Loads the network."""
        return LesionDetector(self.weights()[0])

    def find(self, phases: DcePhases) -> Prediction:
        """Returns the boxes of the likeliest lesions."""
        return self.boxed(self.opened()(phases, most=_MOST), phases, None)


class RegionSegmentation(StudyModel):
    """A segmenter of regions: what one architecture outlines where the detector sees something, breast or not.

    Args:
        folder: of the bundle.
        chosen: gives the weights in use of the bundle, and those of the detector.
        architecture: which one, where it is not the bundle's default.
    """

    def __init__(self, folder: Path, chosen: Chosen, architecture: str | None = None) -> None:
        super().__init__(name_of(folder, architecture), folder, task="segmentation", chosen=chosen)
        self._own = own_weights(folder, architecture)

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self._own or self._chosen(self.folder), self._chosen(self.folder.parent / DETECTOR)]

    def open(self) -> tuple[OpenedBundle, LesionDetector]:
        """Loads the networks."""
        segmenter, detector = self.weights()
        return OpenedBundle(str(self.folder), weights=segmenter), LesionDetector(detector)

    def find(self, phases: DcePhases) -> Prediction:
        """Returns the outlines in all regions together, as the bundle's own inference does."""
        bundle, detector = self.opened()
        loader, finder, cropper = bundle.preprocessing.transforms
        finder.detector = detector
        prepared = finder({"image": loader.squares(phases), "study": phases, "name": self.name})
        if not len(prepared["regions"]):
            return Prediction(np.zeros(phases.shape, np.uint8), phases.affine, {})
        prepared = cropper(prepared)
        finished = bundle.part("postprocessing")({**prepared, "pred": bundle.run(prepared)})
        mask = finished["pred"][0].cpu().numpy() > 0
        return Prediction(mask * np.uint8(self.labels[_LESION]), phases.affine, {})


def _bounds(mask: np.ndarray) -> dict[str, int]:
    edges = [(int(inside.min()), int(inside.max())) for inside in np.nonzero(mask)]
    return {
        f"{axis}_{end}": edge[at]
        for axis, edge in zip(("col", "row", "slice"), edges, strict=True)
        for at, end in enumerate(("min", "max"))
    }


def _read(found: StudyPhases) -> dict[str, Any]:
    """Returns which phases were read, and what is doubtful about them."""
    names = [phase.name if isinstance(phase, Path) else phase.description or str(phase.number) for phase in found.all]
    return {"phases": names[:2], "doubts": list(found.doubts)}
