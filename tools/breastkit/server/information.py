"""What there is: models, trainers, strategies and the state of the store, as MONAI Label's clients read it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from breastkit.server.models.scoring_methods import MEASURED
from breastkit.server.security.request_values import TrainingOptions
from breastkit.server.services import DESCRIPTION, NAME, VERSION, Services

if TYPE_CHECKING:
    from breastkit.server.models.served_models import ServedModel


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
    models = [model for model in _of_next_first(services) if all(path.is_file() for path in model.weights())]
    by_number = [label for model in models for label in sorted(model.labels, key=lambda one: model.labels[one])]
    by_number += [label for model in models for label in model.told_labels]
    return {
        "name": NAME,
        "description": DESCRIPTION,
        "version": VERSION,
        # Without models, what those that are left out would draw.
        "labels": list(dict.fromkeys(by_number or services.store.kinds)),
        "models": {model.name: _of_model(model) for model in models},
        "trainers": {name: _of_trainer(name) for name in services.trainable},
        "strategies": {name: {"description": text} for name, text in services.next_image.strategies().items()},
        "scoring": _of_scoring(services),
        "train_stats": _train_stats(services),
        "datastore": services.store.status(),
    }


def _of_next_first(services: Services) -> list[ServedModel]:
    """Returns the models, those first that read what is annotated next: 3D Slicer runs the first one unasked.

    Pictures come next while some wait, as `breastkit.server.models.choosing` has it.
    """
    store = services.store
    there = store.images.all()
    counts = Counter((image.form.is_flat, image.modality) for image in there.values())
    if len(counts) > 1:
        # Of a store of one kind it need not be known which have labels, which takes a while.
        waiting = [there[name] for name in store.unlabelled() if name in there]
        counts = Counter((image.form.is_flat, image.modality) for image in waiting) or counts
    pictures_wait = any(flat for flat, _ in counts)

    def place(model: ServedModel) -> tuple[bool, int]:
        return model.flat != pictures_wait, -counts[model.flat, model.modality]

    return sorted(services.models.values(), key=place)


def _train_stats(services: Services) -> dict[str, dict[str, Any]]:
    """Returns how far every trainer is, the one that was started last first: viewers show that of the first."""
    if services.training is None:
        return {}
    state = services.training.state()
    names = sorted(services.trainable, key=lambda name: name != state["model"])
    # With a total time viewers show that nothing runs; without any of these they show that all is done.
    stats: dict[str, dict[str, Any]] = {
        name: {"epoch": 0, "total_epochs": 1, "total_time": "0:00:00", "best_metric": 0.0} for name in names
    }
    if state["status"] == "RUNNING" and state["model"] in stats:
        stats[state["model"]] = {name: state[name] for name in ("epoch", "total_epochs")} | {"best_metric": 0.0}
    return stats


def _of_model(model: ServedModel) -> dict[str, Any]:
    return {
        "type": model.task,
        "labels": model.told_labels,
        "dimension": 2 if model.flat else 3,
        "modality": model.modality,
        "description": model.description,
        "config": {},
        "label_colors": model.colours,
        "version": model.version,
    }


def _of_trainer(name: str) -> dict[str, Any]:
    description = f"Trains {name} on the saved labels; used only if it is better, or as good and useful"
    return {"description": description, "config": TrainingOptions().model_dump()}


def _of_scoring(services: Services) -> dict[str, Any]:
    """Returns what can be measured, and what was found last."""
    if services.scoring is None:
        return {}
    found = services.scoring.results()
    return {method.value: {"description": text, **found.get(method, {})} for method, text in MEASURED.items()}
