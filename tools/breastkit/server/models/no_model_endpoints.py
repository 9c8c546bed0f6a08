"""What a server without models answers to who asks for one."""

from __future__ import annotations

from typing import Any, NoReturn

from fastapi import APIRouter, HTTPException

_SENTENCE = "This server runs and trains no models (--no-models); ask one that does."
_RUNNING = ("/infer/{model}", "/batch/infer/{model}", "/train/", "/train/{model}", "/scoring/", "/scoring/{method}")


def no_model_endpoints() -> APIRouter:
    """Returns the endpoints of models of a server that has none."""
    router = APIRouter()

    @router.get("/batch/infer")
    @router.get("/train/")
    @router.get("/scoring/")
    def nothing() -> dict[str, Any]:
        """Tells that nothing runs."""
        return {}

    def refuse() -> NoReturn:
        """Says that there are none."""
        raise HTTPException(404, _SENTENCE)

    for path in _RUNNING:
        router.add_api_route(path, refuse, methods=["POST"], response_model=None)
    return router
