"""Reading a breast ultrasound picture: the lesion's outline, its class, how sure that is, and what mattered for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.bundle import Bundle, Role, bundle_for
from breastkit.errors import BreastkitError
from breastkit.explain import StageRelevance, share_inside
from breastkit.inference.calibration import Calibration
from breastkit.inference.familiarity import FILE_NAME as FAMILIAR
from breastkit.inference.familiarity import Familiarity, map_statistics, read_familiarity
from breastkit.inference.picture_outputs import measure_mask
from breastkit.metrics.classification import MALIGNANT, class_probabilities, most_probable
from breastkit.opened_bundle import OpenedBundle
from breastkit.weights import read_model_json

NORMAL = "normal"
CLASSES = (NORMAL, "benign", "malignant")


@dataclass(frozen=True)
class Reading:
    """What was found in one picture; arrays are on the picture's own grid.

    Attributes:
        mask: the lesion, bool.
        probability: of every pixel to belong to it.
        measures: area, box and confidence of the mask.
        probabilities: of the classes normal, benign and malignant; their sum is 1.
        label: the class, the most probable one.
        suspicious_from: the probability of malignant from which on it is suspicious, the operating point.
        uncertainty: of the classifier that decided, 0 to 1.
        abstain: whether it is above what was stored as the limit, or the picture is unfamiliar.
        decided_by: architecture of that classifier.
        relevance: what mattered for the class, 0 to 1; None where it was not asked for.
        distance: from the pictures that were learnt from; None where the weights do not come with that, as below.
        familiar_up_to: the distance beyond which a picture is unfamiliar.
    """

    mask: NDArray[Any]
    probability: NDArray[Any]
    measures: dict[str, float | int | None]
    probabilities: dict[str, float]
    label: str
    suspicious_from: float
    uncertainty: float
    abstain: bool
    decided_by: str
    relevance: NDArray[Any] | None = None
    distance: float | None = None
    familiar_up_to: float | None = None

    @property
    def unfamiliar(self) -> bool | None:
        """Whether the picture is unlike all that were learnt from; None where it cannot be told."""
        if self.distance is None or self.familiar_up_to is None:
            return None
        return self.distance > self.familiar_up_to

    @property
    def found(self) -> bool:
        """Whether there is a lesion at all."""
        return bool(self.mask.any())

    @property
    def suspicious(self) -> bool:
        """Whether the operating point flags it, whatever its class."""
        return self.probabilities[MALIGNANT] >= self.suspicious_from

    @property
    def relevance_in_lesion(self) -> float | None:
        """Share of the relevance inside the mask; None where there is no mask or no relevance."""
        if self.relevance is None or not self.found:
            return None
        share = share_inside(self.relevance, self.mask)
        return share if np.isfinite(share) else None


class Segmenter:
    """Outlines the lesion of a picture, by a segmentation bundle.

    Args:
        weights: other weights than those in use.
        bundle: which one; by default that which the classifier's masks are from.
        overrides: ids of the bundle's inference config.
    """

    def __init__(self, weights: str | Path | None = None, *, bundle: Bundle | None = None, **overrides: Any) -> None:
        bundle = bundle or bundle_for(Role.CLASSIFICATION).used("segmenter")
        self.bundle = bundle.opened(weights=weights, **overrides)
        self._postprocessing = self.bundle.part("postprocessing")

    def __call__(self, gray: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns mask and probability on the grid of a gray picture."""
        prepared = self.bundle.preprocessing({"image": gray})
        finished = self._postprocessing({**prepared, "pred": self.bundle.run(prepared)})
        return finished["pred"][0].numpy() > 0, finished["probability"][0].numpy()


class LesionClassifier:
    """Tells the class of a picture with a mask, by one variant of a classification bundle.

    Args:
        weights: a variant's weights; those in use without.
        bundle: which one; by default the one there is.
        overrides: ids of the bundle's inference config.
    """

    def __init__(self, weights: str | Path | None = None, *, bundle: Bundle | None = None, **overrides: Any) -> None:
        self.bundle = (bundle or bundle_for(Role.CLASSIFICATION)).opened(weights=weights, **overrides)
        self.classes: tuple[str, ...] = tuple(self.bundle.facts["classes"])
        self.architecture: str = self.bundle.facts["architecture"]
        rule = self.bundle.part("rule")
        self.threshold, self.abstain_above = float(rule["threshold"]), float(rule["abstain_above"])
        # What the threshold reached where it was chosen; weights whose threshold was set by hand do not say.
        self.operating_point: Mapping[str, Any] = self.bundle.facts.get("operating_point", {})
        self._temperature = float(rule["temperature"])
        self.familiarity = _familiarity_of(self.bundle)
        self._explainer: StageRelevance | None = None

    def prepare(self, gray: NDArray[Any], mask: NDArray[Any]) -> dict[str, Any]:
        """Returns a picture as the network takes it."""
        prepared: dict[str, Any] = self.bundle.preprocessing({"image": gray, "mask": mask.astype(np.uint8)})
        return prepared

    def bare(self, gray: NDArray[Any]) -> torch.Tensor:
        """Returns a picture as the network takes it without a mask."""
        square: torch.Tensor = self.prepare(gray, np.zeros(gray.shape, bool))["image"].as_tensor()
        return square

    def distance(self, gray: NDArray[Any]) -> float | None:
        """Returns how far a picture is from those learnt from; None where that was not fitted for these weights."""
        if self.familiarity is None:
            return None
        network, layer = self.bundle.network, self.familiarity.layer
        square = self.bare(gray).to(self.bundle.device)
        return float(self.familiarity.distances(map_statistics(network, layer, square))[0])

    def classify(self, prepared: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        """Returns the probabilities of the classes, and the uncertainty."""
        logits = self.bundle.run(dict(prepared))
        probabilities, uncertainty = class_probabilities(logits[None].numpy(), self._temperature)
        return dict(zip(self.classes, map(float, probabilities[0]), strict=True)), float(uncertainty[0])

    def explain(
        self, prepared: Mapping[str, Any], label: str, explainer: Callable[..., NDArray[Any]] | None = None
    ) -> NDArray[Any]:
        """Returns what mattered for a class, 0 to 1, on the grid of the picture.

        Args:
            prepared: the picture, see `prepare`.
            label: the class.
            explainer: of the network; `StageRelevance` without.
        """
        if self._explainer is None:
            self._explainer = StageRelevance(self.bundle.network)
        square = (explainer or self._explainer)(prepared["image"].as_tensor(), self.classes.index(label))
        restored = self.bundle.back_on_picture(torch.from_numpy(square)[None], dict(prepared))
        return np.clip(restored[0].numpy(), 0, 1)


class UltrasoundReader:
    """Chains the segmenter and the classifiers of breast ultrasound; everything is loaded once.

    The variant that knows normal pictures gives the probability of normal. Where a lesion was outlined, the rest is
    shared out by the variant that tells benign from malignant. Where none was, the former decides alone.

    Args:
        segmenter: outlines; None where `read` is always given a mask.
        classifier: tells benign from malignant.
        normal_classifier: tells normal as well.
        calibration: what probabilities and limits become; without one they are those stored with the weights.

    Raises:
        BreastkitError: if the calibration was fitted for other weights.
    """

    def __init__(
        self,
        segmenter: Segmenter | None,
        classifier: LesionClassifier,
        normal_classifier: LesionClassifier,
        *,
        calibration: Calibration | None = None,
    ) -> None:
        self.segmenter, self.classifier, self.normal_classifier = segmenter, classifier, normal_classifier
        self.calibration = calibration
        if calibration is not None:
            calibration.refuse_other_weights(self.weights)

    @property
    def weights(self) -> dict[str, str]:
        """The sha256 of the weights by their roles."""
        parts = {
            "segmenter": self.segmenter,
            "classifier": self.classifier,
            "normal_classifier": self.normal_classifier,
        }
        return {role: str(part.bundle.facts["sha256"]) for role, part in parts.items() if part is not None}

    @classmethod
    def of_bundle(
        cls,
        bundle: Bundle,
        *,
        segmenter: str | Path | None = None,
        classifier: str | Path | None = None,
        normal_classifier: str | Path | None = None,
        calibration: Calibration | None = None,
        **overrides: Any,
    ) -> UltrasoundReader:
        """Opens a classification bundle and the segmentation bundle it uses.

        Args:
            bundle: the classification bundle.
            segmenter: weights; those in use by default.
            classifier: weights of a variant; those in use by default.
            normal_classifier: weights of a variant with the class normal; those the bundle ships by default.
            calibration: see the class.
            overrides: ids of the bundles' inference configs, for example ``backend="torch"``.

        Raises:
            BreastkitError: if weights are missing or damaged, or the calibration is of others.
        """
        return cls(
            Segmenter(segmenter, bundle=bundle.used("segmenter"), **overrides),
            LesionClassifier(classifier, bundle=bundle, **overrides),
            LesionClassifier(normal_classifier or weights_that_say_normal(bundle), bundle=bundle, **overrides),
            calibration=calibration,
        )

    def warm_up(self, *, explain: bool = True) -> None:
        """Computes once on a made-up picture, so that the first real one does not wait for networks to be converted.

        Args:
            explain: make a map too.
        """
        gray = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
        if self.segmenter is not None:
            self.segmenter(gray)
        mask = np.zeros(gray.shape, bool)
        mask[16:48, 16:48] = True
        for classifier in (self.normal_classifier, self.classifier):
            prepared = classifier.prepare(gray, mask)
            classifier.classify(prepared)
            if explain:
                classifier.explain(prepared, classifier.classes[-1])

    def read(self, gray: NDArray[Any], *, explain: bool = True, mask: NDArray[Any] | None = None) -> Reading:
        """Reads one 8-bit gray picture.

        Args:
            gray: rows, columns.
            explain: also make the map of what mattered for the class, which takes longer than all the rest.
            mask: of the lesion, bool, where it was outlined before.

        Raises:
            ValueError: if there is no mask and nothing that outlines one.
        """
        if mask is None:
            if self.segmenter is None:
                raise ValueError("A reader without a segmenter needs a mask.")
            mask, probability = self.segmenter(gray)
        else:
            probability = mask.astype(np.float32)
        answers = {}
        for classifier in (self.normal_classifier, self.classifier) if mask.any() else (self.normal_classifier,):
            prepared = classifier.prepare(gray, mask)
            answers[classifier] = (prepared, *classifier.classify(prepared))
        probabilities = answers[self.normal_classifier][1]
        if mask.any():
            probabilities = chained(probabilities[NORMAL], answers[self.classifier][1])
        last = list(answers)[-1]
        if self.calibration is not None:
            probabilities = self.calibration.applied(probabilities)
        label = most_probable(probabilities)
        # That a picture is normal is what the other one says, whether there is an outline or not.
        decider = self.normal_classifier if label == NORMAL else last
        prepared, _, uncertainty = answers[decider]
        familiarity, distance = self.normal_classifier.familiarity, self.normal_classifier.distance(gray)
        limit = None if familiarity is None else familiarity.limit
        suspicious_from, abstain_above = last.threshold, decider.abstain_above
        if self.calibration is not None:
            suspicious_from, abstain_above = self.calibration.suspicious_from, self.calibration.abstain_above
        reading = Reading(
            mask=mask,
            probability=probability,
            measures=measure_mask(mask, probability),
            probabilities=probabilities,
            label=label,
            suspicious_from=suspicious_from,
            uncertainty=uncertainty,
            abstain=uncertainty > abstain_above,
            decided_by=decider.architecture,
            relevance=decider.explain(prepared, label) if explain else None,
            distance=distance,
            familiar_up_to=limit,
        )
        return replace(reading, abstain=True) if reading.unfamiliar else reading


def _familiarity_of(bundle: OpenedBundle) -> Familiarity | None:
    """Returns where the pictures lie that weights have learnt from, if that lies beside them."""
    path = bundle.weights.with_name(FAMILIAR)
    found = read_familiarity(path) if path.is_file() else None
    return found if found is not None and found.weights == bundle.facts["sha256"] else None


def weights_that_say_normal(bundle: Bundle) -> Path:
    """Returns the weights that a classification bundle ships of a variant with the class normal.

    Raises:
        BreastkitError: if it ships none.
    """
    for path in bundle.further_weights.values():
        if NORMAL in read_model_json(path)["classes"]:
            return path
    raise BreastkitError(
        f"{bundle.folder / 'models'} holds no weights of a variant that can say {NORMAL}; name some with "
        "--normal_classifier."
    )


def chained(normal: float, given_lesion: Mapping[str, float]) -> dict[str, float]:
    """Returns probabilities of `CLASSES`: of normal as given, the rest shared out by a classifier of lesions.

    Args:
        normal: probability that there is no lesion.
        given_lesion: probabilities of benign and malignant; what they leave out is left out.
    """
    lesion = {name: given_lesion[name] for name in CLASSES if name != NORMAL}
    total = sum(lesion.values())
    return {NORMAL: normal, **{name: (1 - normal) * value / total for name, value in lesion.items()}}
