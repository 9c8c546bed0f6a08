"""Which models the bundles make: each bundle's own, one for every further architecture with weights, and the chain."""

from __future__ import annotations

import json
from pathlib import Path

from breastkit.bundle import bundle_folder
from breastkit.inference.mri_detection import BUNDLE as LESION_DETECTOR
from breastkit.inference.ultrasound import CLASSIFIER, SEGMENTER
from breastkit.logs import get_logger
from breastkit.networks import names_in
from breastkit.pipelines.mri import BREASTS
from breastkit.pipelines.mri import SEGMENTER as LESION_SEGMENTER
from breastkit.server.models.served_lesions import LesionChain, LesionDetection, RegionSegmentation
from breastkit.server.models.served_models import (
    Chosen,
    SegmentationModel,
    ServedModel,
    UltrasoundDiagnosis,
    name_of,
    own_weights,
)
from breastkit.training.weights import read_model_json

_log = get_logger(__name__)
_LOADERS = ("breastkit.transforms.LoadVolumed", "breastkit.transforms.LoadPictured")


def shipped_weights(folder: Path) -> Path:
    """Returns the weights a bundle ships as its default."""
    return folder / "models" / "model.pt"


def find_models(bundles: str | Path | None = None, *, chosen: Chosen = shipped_weights) -> dict[str, ServedModel]:
    """Returns the models of all bundles that have weights and are of a kind that is served.

    Args:
        bundles: the folder with the bundles; that of this checkout by default.
        chosen: gives the weights in use of a bundle's folder.
    """
    place = Path(bundles) if bundles is not None else Path(bundle_folder(SEGMENTER)).parent
    found: list[ServedModel] = []
    for bundle in _bundles_in(place):
        try:
            found += _models_of(bundle, chosen)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            _log.warning("%s is not served: its configs are of another kind (%r).", bundle.name, error)
    if all((place / name / "configs" / "inference.json").is_file() for name in (BREASTS, LESION_DETECTOR)):
        found += [LesionChain(place, chosen)] if (place / LESION_SEGMENTER / "configs").is_dir() else []
    able = [model for model in found if all(path.is_file() for path in model.weights())]
    return {model.name: model for model in sorted(able, key=_place_in_list)}


def why_not_served(name: str, bundles: str | Path | None = None) -> str:
    """Says why there is no model of a name: an architecture without weights, or no such model at all.

    Args:
        name: what a client asked for.
        bundles: the folder with the bundles; that of this checkout by default.
    """
    place = Path(bundles) if bundles is not None else Path(bundle_folder(SEGMENTER)).parent
    for bundle in _bundles_in(place):
        default = shipped_weights(bundle)
        for architecture in (None, *_architectures(bundle)):
            if name != name_of(bundle, architecture):
                continue
            if default.is_file() and read_model_json(default)["architecture"] == architecture:
                return f"{name} is what {bundle.name} runs with; ask for that."
            folder = "models" if architecture is None else f"models/{architecture}"
            return f"{name} has no weights: put model.pt and model.json of a training run into {bundle.name}/{folder}."
    return "There is no such model; /info/ lists them."


def _bundles_in(place: Path) -> list[Path]:
    return sorted(path.parents[1] for path in place.glob("*/configs/metadata.json"))


def _architectures(bundle: Path) -> list[str]:
    path = bundle / "configs" / "networks.json"
    return names_in(path) if path.is_file() else []


def _models_of(bundle: Path, chosen: Chosen) -> list[ServedModel]:
    """Returns the models of a bundle, those without weights too; a bundle without default weights has none."""
    if not shipped_weights(bundle).is_file():
        return []
    if bundle.name == CLASSIFIER:
        return [UltrasoundDiagnosis(chosen)]
    if bundle.name == LESION_DETECTOR:
        return [LesionDetection(bundle, chosen)]
    if not (bundle.name == LESION_SEGMENTER or _is_segmentation(bundle)):
        _log.warning("%s is not served: there is no viewer's model of its kind.", bundle.name)
        return []
    kind = RegionSegmentation if bundle.name == LESION_SEGMENTER else SegmentationModel
    further = [one for one in _architectures(bundle) if own_weights(bundle, one).is_file()]
    return [kind(bundle, chosen, architecture) for architecture in (None, *further)]


def _is_segmentation(bundle: Path) -> bool:
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    config = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    loads = config["preprocessing"]["transforms"][0]["_target_"]
    return metadata["network_data_format"]["outputs"]["pred"]["format"] == "segmentation" and loads in _LOADERS


def _place_in_list(model: ServedModel) -> tuple[bool, bool, str]:
    # Viewers offer the first one first: those of the breast, and of these what reads any image on its own.
    of_study = isinstance(model, LesionChain | LesionDetection | RegionSegmentation)
    return not model.folder.name.startswith("breast"), of_study, model.name
