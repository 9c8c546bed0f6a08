"""Training models on saved labels: started, watched, stopped."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request

from breastkit.server.models.label_training import LabelTraining, model_of_labels
from breastkit.server.models.served_models import ServedModel
from breastkit.server.security.access import role_of, user_of
from breastkit.server.security.request_values import (
    JsonBody,
    ModelName,
    checked_params,
    options_of,
    training_options_for,
)
from breastkit.server.services import Services


def training_endpoints(services: Services, training: LabelTraining) -> APIRouter:
    """Returns the endpoints that train on saved labels.

    Args:
        services: with the models that labels train.
        training: trains them.
    """
    router = APIRouter(prefix="/train")

    def trainer_of(model: str) -> ServedModel:
        if model not in services.trainable:
            raise HTTPException(404, "There is no such trainer; /info/ lists them.")
        return services.trainable[model]

    def start(request: Request, model: str, given: dict[str, Any], run_sync: bool) -> dict[str, Any]:
        bundle = trainer_of(model).bundle
        # Viewers send the options of each trainer under its name.
        own = given[model] if isinstance(given.get(model), dict) else given
        state = training.start(bundle, options_of(training_options_for(role_of(request)), own))
        return training.wait() if run_sync else state

    @router.get("/", response_model=None)
    def state(all: bool = False, check_if_running: bool = False) -> dict[str, Any] | list[dict[str, Any]]:
        """Tells what the latest training does, or all of them; empty before there was any."""
        if all:
            return training.states()
        told = training.state()
        if check_if_running and told["status"] != "RUNNING":
            # The client takes every answer for yes.
            raise HTTPException(404, "No training is running.")
        return {} if told["status"] == "NONE" else told

    @router.post("/")
    def train_default(request: Request, params: JsonBody = None, run_sync: bool = False) -> dict[str, Any]:
        """Trains the model that the body names, else of those whose options it holds the one the labels are for."""
        given = checked_params(params)
        if "model" in given:
            return start(request, str(given["model"]), given, run_sync)
        named = {name: model for name, model in services.trainable.items() if name in given}
        return start(request, model_of_labels(services.store, named or services.trainable), given, run_sync)

    @router.post("/{model}")
    def train(request: Request, model: ModelName, params: JsonBody = None, run_sync: bool = False) -> dict[str, Any]:
        """Trains a model."""
        return start(request, model, checked_params(params), run_sync)

    @router.post("/{model}/confirmation")
    def confirm(request: Request, model: ModelName) -> dict[str, Any]:
        """Has weights used that wait for an administrator."""
        return training.confirm(trainer_of(model).bundle, user=user_of(request))

    @router.delete("/")
    def stop() -> dict[str, Any]:
        """Stops a running training."""
        return training.stop()

    return router
