"""Models of lesions in dynamic breast MRI: the chain, the detector and the segmenter, over the phases of a study."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.bundle import Bundle
from breastkit.dce.correction import motions_of, without_motion
from breastkit.dce.phases import DcePhases, read_phases
from breastkit.dce.series import StudyPhases
from breastkit.dce.sides import midline_mm, side_of
from breastkit.detection.boxes_file import Detection
from breastkit.findings.study_findings import StudyFindings
from breastkit.inference.mri_detection import LesionDetector
from breastkit.opened_bundle import OpenedBundle
from breastkit.pipelines.mri import NAME, MriNetworks, examine
from breastkit.pipelines.mri_outlines import open_breasts, outline_breasts, outline_lesions
from breastkit.server.models.box_markups import box_answer
from breastkit.server.models.served_models import FileOf, Prediction, ServedModel, name_of
from breastkit.server.studies.study_images import StudyImage
from breastkit.server.studies.study_phases import PhasesOf, phases_beside

# More candidates than this are noise; 'breastkit run mri' and the detection bundle look at as many.
_MOST = 4
_CHAIN_SAYS = (
    "Two stages: the detector finds lesions in the phases before and after contrast, the segmenter outlines those that "
    "touch a breast. For research, not for diagnosis."
)


class StudyModel(ServedModel):
    """A model that reads the phases of a study, whichever of them it is asked for."""

    @property
    def number(self) -> int:
        """The number of its one label."""
        return next(iter(self.labels.values()))

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

    def boxed(
        self, lesions: list[Detection], phases: DcePhases, labels: NDArray[Any] | None, *, sides: Sequence[str] = ()
    ) -> Prediction:
        """Returns lesions as boxes, and their label map and sides where these are known."""
        answer = box_answer(lesions, label=next(iter(self.labels)), number=self.number, sides=sides)
        return Prediction(labels, phases.affine, answer, tuple(lesions))


class LesionChain(StudyModel):
    """The chain of ``breastkit run mri`` as one model: lesions in the breasts, found and outlined.

    Args:
        bundle: the segmenter of regions.
        breasts: the bundle that outlines the breasts.
    """

    def __init__(self, bundle: Bundle, breasts: Bundle) -> None:
        super().__init__(bundle, name=NAME, description=_CHAIN_SAYS)
        self._breasts, self._detector = breasts, bundle.used("detector")

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [bundle.weights_in_use for bundle in (self.bundle, self._detector, self._breasts)]

    def open(self) -> tuple[OpenedBundle, LesionDetector, OpenedBundle]:
        """Loads the networks."""
        segmenter, detector, breasts = self.weights()
        return (
            self.bundle.opened(weights=segmenter),
            LesionDetector(detector, bundle=self._detector),
            open_breasts(self._breasts, weights=breasts),
        )

    def find(self, phases: DcePhases) -> Prediction:
        """Returns the outlines of the lesions, with scores and boxes around what is outlined."""
        segmenter, detector, breasts = self.opened()
        breast = outline_breasts(phases, breasts)
        phases = without_motion(phases, motions_of(phases, breast))
        lesions = outline_lesions(detector(phases, most=_MOST, breast=breast), phases, segmenter)
        labels = np.zeros(phases.shape, np.uint8)
        midline, found, sides = midline_mm(breast, phases.grid), [], []
        for lesion in lesions:
            labels[lesion.mask] = self.number
            found.append(Detection(lesion.score, lesion.box))
            sides.append(side_of(lesion.mask, phases.grid, midline) or "")
        return self.boxed(found, phases, labels, sides=sides)

    def findings(self, image: StudyImage, phases_of: PhasesOf = phases_beside) -> Iterator[StudyFindings]:
        """Yields what `breastkit run mri` finds in the study."""
        self.refuse_other_form(image)
        segmenter, detector, breasts = self.opened()
        yield examine(phases_of(image), MriNetworks(breasts, segmenter, detector), most=_MOST)


class LesionDetection(StudyModel):
    """A detector alone: boxes with scores, no outlines."""

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self.bundle.weights_in_use]

    def open(self) -> LesionDetector:
        """Loads the network."""
        return LesionDetector(self.weights()[0], bundle=self.bundle)

    def find(self, phases: DcePhases) -> Prediction:
        """Returns the boxes of the likeliest lesions."""
        return self.boxed(self.opened()(phases, most=_MOST), phases, None)


class RegionSegmentation(StudyModel):
    """A segmenter of regions: what one architecture outlines where the detector sees something, breast or not.

    Args:
        bundle: which one.
        architecture: of further weights it ships, in place of those in use.
    """

    def __init__(self, bundle: Bundle, architecture: str | None = None) -> None:
        super().__init__(bundle, name=name_of(bundle, architecture))
        self._own = bundle.further_weights[architecture] if architecture else None
        self._detector = bundle.used("detector")

    def weights(self) -> list[Path]:
        """Returns the weights it runs with."""
        return [self._own or self.bundle.weights_in_use, self._detector.weights_in_use]

    def open(self) -> tuple[OpenedBundle, LesionDetector]:
        """Loads the networks."""
        segmenter, detector = self.weights()
        return self.bundle.opened(weights=segmenter), LesionDetector(detector, bundle=self._detector)

    def find(self, phases: DcePhases) -> Prediction:
        """Returns the outlines in all regions together, as the bundle's own inference does."""
        opened, detector = self.opened()
        finder = opened.part("find_regions")
        finder.detector = detector
        squares = opened.part("load").squares(phases)
        prepared = finder({"image": squares, "study": phases, "name": self.name})
        if not len(prepared["regions"]):
            return Prediction(np.zeros(phases.shape, np.uint8), phases.affine, {})
        prepared = opened.part("crop")(prepared)
        finished = opened.part("postprocessing")({**prepared, "pred": opened.run(prepared)})
        mask = finished["pred"][0].cpu().numpy() > 0
        return Prediction(mask * np.uint8(self.number), phases.affine, {})


def _read(found: StudyPhases) -> dict[str, Any]:
    """Returns which phases were read, and what is doubtful about them."""
    names = [phase.name if isinstance(phase, Path) else phase.description or str(phase.number) for phase in found.all]
    return {"phases": names[:2], "doubts": list(found.doubts)}
