"""What to annotate next."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from breastkit.active_learning import Choice
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.security.access import user_of
from breastkit.server.security.request_values import (
    ChoosingOptions,
    JsonBody,
    StrategyName,
    checked_params,
    options_of,
)
from breastkit.server.services import Services
from breastkit.server.studies.study_images import shown_name

_log = get_logger(__name__)


def choosing_endpoints(services: Services) -> APIRouter:
    """Returns the endpoint that says what to annotate next.

    Args:
        services: with the store and the ways to choose.
    """
    router = APIRouter()
    store = services.store

    @router.post("/activelearning/{strategy}")
    def next_sample(request: Request, strategy: StrategyName, params: JsonBody = None) -> dict[str, Any]:
        """Chooses an image without a label; an empty answer says that all have one."""
        options = options_of(ChoosingOptions, checked_params(params))
        if strategy not in services.next_image.strategies():
            raise HTTPException(404, "There is no such strategy; /info/ lists them.")
        unreadable: set[str] = set()
        while (image_id := services.next_image.choose(Choice(strategy), seed=options.seed, but=unreadable)) is not None:
            try:
                path = store.file_of(image_id)
                break
            except BreastkitError as error:
                # One that nobody can open must not stand before all others.
                _log.warning("%s is passed over: %s", image_id, error)
                unreadable.add(image_id)
        else:
            return {}
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        told = dict(store.image(image_id).info)
        if options.client_id and services.users is not None and "authorization" in request.headers:
            # 3D Slicer, which names itself, will download it without its token.
            image_id = services.links.link(image_id, user_of(request))
        return {"id": image_id, "name": shown_name(path), "checksum": f"SHA256:{digest}", **told}

    return router
