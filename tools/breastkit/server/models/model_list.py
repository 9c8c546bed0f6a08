"""Which models the bundles make: each bundle's own, one for every further architecture with weights, and the chain."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from breastkit.bundle import Bundle, Reads, Role, find_bundles
from breastkit.errors import BreastkitError
from breastkit.inference.prompted import promptable
from breastkit.logs import get_logger
from breastkit.pipelines import BREASTS, LESIONS
from breastkit.server.models.prompted_lesions import PromptedLesions
from breastkit.server.models.prompted_models import PromptedSegmentation
from breastkit.server.models.scribble_cut import ScribbleCut
from breastkit.server.models.served_lesions import LesionChain, LesionDetection, RegionSegmentation
from breastkit.server.models.served_models import SegmentationModel, ServedModel, UltrasoundDiagnosis, name_of
from breastkit.weights import read_model_json

_log = get_logger(__name__)
# Whose labels may be drawn by a cut between scribbles.
_SCRIBBLED = ((Role.SEGMENTATION, Reads.PICTURE), (Role.REGION_SEGMENTATION, Reads.STUDY))
_OF_ARCHITECTURE = {Role.SEGMENTATION: SegmentationModel, Role.REGION_SEGMENTATION: RegionSegmentation}


def find_models(
    bundles: str | Path | None = None, *, models: str | Path | None = None, calibration: str | Path | None = None
) -> dict[str, ServedModel]:
    """Returns the models of all bundles that have weights.

    Args:
        bundles: the folder with the bundles; see `breastkit.bundle.find_bundles` for the default.
        models: where promoted versions of weights are kept.
        calibration: the file of a calibration of the ultrasound chain.
    """
    there = {bundle.name: bundle for bundle in find_bundles(bundles, models=models)}
    found: list[ServedModel] = []
    for bundle in there.values():
        try:
            found += _models_of(bundle, calibration)
        except (BreastkitError, KeyError) as error:
            _log.warning("%s is not served: %s", bundle.name, error)
    found += [ScribbleCut(bundle) for bundle in _with_lesions(there.values())]
    if {model.bundle.name for model in found} >= {BREASTS, LESIONS}:
        found.append(LesionChain(there[LESIONS], there[BREASTS]))
    able = [model for model in found if all(path.is_file() for path in model.weights())]
    return {model.name: model for model in sorted(able, key=_place_in_list)}


def why_not_served(name: str, bundles: str | Path | None = None) -> str:
    """Says why there is no model of a name: an architecture without weights, or no such model at all.

    Args:
        name: what a client asked for.
        bundles: the folder with the bundles; see `breastkit.bundle.find_bundles` for the default.
    """
    for bundle in find_bundles(bundles):
        for architecture in (None, *bundle.architectures):
            if name != name_of(bundle, architecture):
                continue
            if architecture is not None and architecture == bundle.default_architecture:
                return f"{name} is what {bundle.name} runs with; ask for that."
            folder = "models" if architecture is None else f"models/{architecture}"
            return f"{name} has no weights: put model.pt and model.json of a training run into {bundle.name}/{folder}."
    return "There is no such model; /info/ lists them."


def _models_of(bundle: Bundle, calibration: str | Path | None) -> list[ServedModel]:
    """Returns the models of a bundle; one without default weights has none."""
    if not bundle.shipped_weights.is_file():
        return []
    match bundle.purpose.role:
        case Role.CLASSIFICATION:
            return [UltrasoundDiagnosis(bundle, calibration=calibration)]
        case Role.DETECTION:
            return [LesionDetection(bundle)]
        case role:
            followed = [PromptedLesions(bundle)] if role is Role.REGION_SEGMENTATION else []
            return [*(_of_architecture(bundle, one) for one in (None, *bundle.further_weights)), *followed]


def _with_lesions(bundles: Iterable[Bundle]) -> list[Bundle]:
    """Returns the bundles that outline lesions, which may be scribbled over."""
    return [
        bundle
        for bundle in bundles
        if bundle.purpose.organ == "breast"
        and (bundle.purpose.role, bundle.purpose.reads) in _SCRIBBLED
        and bundle.shipped_weights.is_file()
    ]


def _of_architecture(bundle: Bundle, architecture: str | None) -> ServedModel:
    if architecture is not None and promptable(read_model_json(bundle.further_weights[architecture])):
        return PromptedSegmentation(bundle, architecture)
    model: ServedModel = _OF_ARCHITECTURE[bundle.purpose.role](bundle, architecture)
    return model


def _place_in_list(model: ServedModel) -> tuple[bool, bool, str]:
    # Viewers offer the first one first: those of the breast, and of these what reads any image on its own.
    purpose = model.bundle.purpose
    return purpose.organ != "breast", purpose.reads is Reads.STUDY, model.name
