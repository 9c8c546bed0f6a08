"""What to annotate next."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from breastkit.active_learning import Choice
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.security.access import asker_of, may_keep, refuse_below
from breastkit.server.security.request_values import (
    ChoosingOptions,
    JsonBody,
    StrategyName,
    checked_params,
    options_of,
)
from breastkit.server.security.users import Role, User
from breastkit.server.services import Services
from breastkit.server.studies.study_images import shown_name

_log = get_logger(__name__)


def choosing_endpoints(services: Services) -> APIRouter:
    """Returns the endpoint that says what to annotate next.

    Args:
        services: with the store and the ways to choose.
    """
    router = APIRouter()
    store, readings = services.store, services.readings

    def among(request: Request, who: User, *, review: bool) -> list[str] | None:
        """Returns the images to choose from: those that wait for a reader, or for a reviewer."""
        if review:
            refuse_below(request, Role.REVIEWER)
            waiting = readings.to_review()
            return [image for image in store.images.all() if image in waiting]
        return readings.waiting_for(who.name, store.images.all(), set(store.labelled())) if who.name else None

    @router.post("/activelearning/{strategy}")
    def next_sample(request: Request, strategy: StrategyName, params: JsonBody = None) -> dict[str, Any]:
        """Chooses an image that waits for who asks, and hands it to them; an empty answer says that none does."""
        options, who = options_of(ChoosingOptions, checked_params(params)), asker_of(request)
        if strategy not in services.next_image.strategies():
            raise HTTPException(404, "There is no such strategy; /info/ lists them.")
        waiting, how = among(request, who, review=options.review), Choice(strategy)
        takes = bool(who.name) and not options.review and may_keep(request)
        passed_over: set[str] = set()
        while (found := services.next_image.choose(how, seed=options.seed, among=waiting, but=passed_over)) is not None:
            try:
                path = store.file_of(found)
                if not takes or readings.take(found, who.name):
                    break
            except BreastkitError as error:
                # One that nobody can open must not stand before all others.
                _log.warning("%s is passed over: %s", found, error)
            passed_over.add(found)
        else:
            return {}
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        told = {**store.image(found).info, **(_told_to(who, found) if who.name else {})}
        if options.client_id and services.users is not None and "authorization" in request.headers:
            # 3D Slicer, which names itself, will download it without its token.
            found = services.links.link(found, who.name)
        return {"id": found, "name": shown_name(path), "checksum": f"SHA256:{digest}", **told}

    def _told_to(who: User, image: str) -> dict[str, Any]:
        """Returns whose turn it is, which round, and why it was sent back."""
        state = readings.state_of(image)
        sent_back = state.sent_back.get(who.name)
        return {
            "round": state.round,
            "readers": list(state.readings) if who.role >= Role.REVIEWER else [],
            **({"remark": sent_back.remark, "sent_back_by": sent_back.by} if sent_back is not None else {}),
        }

    return router
