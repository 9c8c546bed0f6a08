"""Measuring the models against labels, and what they do not know yet: started, watched, stopped."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException

from breastkit.server.models.scoring_methods import Method
from breastkit.server.security.request_values import JsonBody, checked_params
from breastkit.server.services import Services


def scoring_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints that measure the models against labels, and what they do not know yet.

    Args:
        services: with what is measured.
    """
    router = APIRouter(prefix="/scoring")
    scoring = services.scoring

    def start(methods: list[Method], run_sync: bool) -> dict[str, Any]:
        if scoring is None:
            raise HTTPException(404, "Nothing can be scored: there is no model that outlines.")
        state = scoring.start(*methods)
        return scoring.wait() if run_sync else state

    @router.get("/")
    def state(check_if_running: bool = False) -> dict[str, Any]:
        """Tells what the latest scoring does."""
        told = {"status": "NONE"} if scoring is None else scoring.state()
        if told["status"] == "NONE" or (check_if_running and told["status"] != "RUNNING"):
            raise HTTPException(404, "No scoring is running.")
        return told

    @router.post("/")
    def score_all(params: JsonBody = None, run_sync: bool = False) -> dict[str, Any]:
        """Starts all methods."""
        checked_params(params)
        return start(list(Method), run_sync)

    @router.post("/{method}")
    def score(method: Method, params: JsonBody = None, run_sync: bool = False) -> dict[str, Any]:
        """Starts a method."""
        checked_params(params)
        return start([method], run_sync)

    @router.delete("/")
    def stop() -> dict[str, Any]:
        """Stops a running scoring."""
        if scoring is None:
            raise HTTPException(404, "No scoring is running.")
        return scoring.stop()

    return router
