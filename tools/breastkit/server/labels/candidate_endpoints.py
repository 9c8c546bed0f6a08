"""Candidates that readers kept or rejected: told and taken."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from breastkit.server.labels.candidate_verdicts import FOLDER, Candidate, CandidateVerdicts, told
from breastkit.server.security.access import user_of
from breastkit.server.security.request_values import ImageId
from breastkit.server.services import Services


def candidate_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints of candidates.

    Args:
        services: with the store.
    """
    router = APIRouter(prefix="/datastore/candidates")
    store = services.store
    verdicts = CandidateVerdicts(store.folder / FOLDER)

    @router.get("")
    def candidates(image: ImageId) -> dict[str, Any]:
        """Tells on which candidates of an image something was said, and how many of each model's were kept anywhere."""
        return told(image, verdicts, verdicts.of(store.image(image).id))

    @router.put("")
    def say(request: Request, image: ImageId, candidate: Candidate) -> dict[str, Any]:
        """Keeps or rejects a candidate."""
        found = verdicts.say(store.image(image).id, candidate, user=user_of(request))
        return told(image, verdicts, found)

    return router
