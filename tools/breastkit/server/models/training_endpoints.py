"""Training models on saved labels: started, watched, stopped."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException

from breastkit.server.security.request_values import (
    JsonBody,
    ModelName,
    TrainingOptions,
    checked_params,
    options_of,
)
from breastkit.server.services import Services


def training_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints that train on saved labels.

    Args:
        services: with the models that labels train.
    """
    router = APIRouter(prefix="/train")

    def start(model: str, params: Any) -> dict[str, Any]:
        task = services.trainable.get(model)
        if task is None:
            raise HTTPException(404, "There is no such trainer; /info/ lists them.")
        given = checked_params(params)
        # Viewers send the options of each trainer under its name.
        given = given[model] if isinstance(given.get(model), dict) else given
        return services.training.start(task.bundle, options_of(TrainingOptions, given))

    @router.get("/")
    def state(check_if_running: bool = False) -> dict[str, Any]:
        """Tells what the latest training does."""
        told = services.training.state()
        if told["status"] == "NONE" or (check_if_running and told["status"] != "RUNNING"):
            raise HTTPException(404, "No training is running.")
        return told

    @router.post("/")
    def train_default(params: JsonBody = None) -> dict[str, Any]:
        """Trains the first model that reads the store's images."""
        model = next((name for name in services.trainable if isinstance(params, dict) and name in params), None)
        return start(model or next(iter(services.trainable), ""), params)

    @router.post("/{model}")
    def train(model: ModelName, params: JsonBody = None) -> dict[str, Any]:
        """Trains a model."""
        return start(model, params)

    @router.delete("/")
    def stop() -> dict[str, Any]:
        """Stops a running training."""
        return services.training.stop()

    return router
