"""Running a model over many images: started, watched, stopped."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request

from breastkit.server.models.batch_inference import BatchInference, Images
from breastkit.server.models.model_list import why_not_served
from breastkit.server.security.access import user_of
from breastkit.server.security.request_values import BatchOptions, JsonBody, ModelName, checked_params, options_of
from breastkit.server.services import Services


def batch_endpoints(services: Services, batch: BatchInference) -> APIRouter:
    """Returns the endpoints that run a model over many images.

    Args:
        services: with the models and the store.
        batch: runs them.
    """
    router = APIRouter(prefix="/batch/infer")

    @router.get("")
    def state(check_if_running: bool = False) -> dict[str, Any]:
        """Tells what the latest batch does; empty before there was any."""
        told = batch.state()
        if check_if_running and told["status"] != "RUNNING":
            raise HTTPException(404, "No batch is running.")
        return {} if told["status"] == "NONE" else told

    @router.post("/{model}")
    def start(
        request: Request,
        model: ModelName,
        images: Images = Images.ALL,
        params: JsonBody = None,
        run_sync: bool = False,
    ) -> dict[str, Any]:
        """Runs a model on all images that it is for, and keeps what it outlines as its own labels."""
        task = services.models.get(model)
        if task is None:
            raise HTTPException(404, why_not_served(model))
        options = options_of(BatchOptions, checked_params(params))
        most, user = options.max_batch_size, user_of(request)
        return batch.start(task, images, tag=options.label_tag, most=most, user=user, wait=run_sync)

    @router.delete("")
    def stop() -> dict[str, Any]:
        """Stops a running batch."""
        return batch.stop()

    return router
