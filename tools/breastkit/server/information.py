"""What there is: models, trainers, strategies and the state of the store, as MONAI Label's clients read it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from breastkit.server.models.scoring import Method
from breastkit.server.models.served_models import ServedModel
from breastkit.server.security.request_values import TrainingOptions
from breastkit.server.services import DESCRIPTION, NAME, VERSION, Services

MEASURED = {
    Method.DICE: "Dice of the models against the saved labels",
    Method.UNCERTAINTY: "How unsure the models are of the images without a label",
}


def information_endpoints(services: Services) -> APIRouter:
    """Returns the endpoint that tells what there is.

    Args:
        services: what there is.
    """
    router = APIRouter()

    @router.get("/info/")
    def info() -> dict[str, Any]:
        """Tells models, strategies, trainers and the state of the store."""
        return information_of(services)

    return router


def information_of(services: Services) -> dict[str, Any]:
    """Returns what there is; models only as long as their weights are there."""
    models = [model for model in services.models.values() if all(path.is_file() for path in model.weights())]
    by_number = [label for model in models for label in sorted(model.labels, key=lambda one: model.labels[one])]
    return {
        "name": NAME,
        "description": DESCRIPTION,
        "version": VERSION,
        "labels": list(dict.fromkeys(by_number)),
        "models": {model.name: _of_model(model) for model in models},
        "trainers": {name: _of_trainer(name) for name in services.trainable},
        "strategies": {name: {"description": text} for name, text in services.next_image.strategies().items()},
        "scoring": _of_scoring(services),
        "train_stats": {name: {} for name in services.trainable},
        "datastore": services.store.status(),
    }


def _of_model(model: ServedModel) -> dict[str, Any]:
    return {
        "type": model.task,
        "labels": model.labels,
        "dimension": 2 if model.flat else 3,
        "description": model.description,
        "config": {},
        "label_colors": model.colours,
        "version": model.version,
    }


def _of_trainer(name: str) -> dict[str, Any]:
    description = f"Trains {name} on the saved labels; used only if it is not worse"
    return {"description": description, "config": TrainingOptions().model_dump()}


def _of_scoring(services: Services) -> dict[str, Any]:
    """Returns what can be measured, and what was found last."""
    if services.scoring is None:
        return {}
    found = services.scoring.results()
    return {method.value: {"description": text, **found.get(method, {})} for method, text in MEASURED.items()}
