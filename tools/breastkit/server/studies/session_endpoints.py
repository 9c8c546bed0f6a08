"""Images that clients lend for some inferences."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException

from breastkit.errors import BreastkitError
from breastkit.server.security.request_values import SessionId, Uploads
from breastkit.server.services import Services


def session_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints of sessions.

    Args:
        services: with the images that clients lend.
    """
    router = APIRouter(prefix="/session")
    sessions = services.sessions

    @router.put("/")
    def create(files: Uploads) -> dict[str, Any]:
        """Takes an image for some inferences."""
        if len(files) != 1:
            raise BreastkitError("A session holds one image; send one file.")
        session = sessions.add(files[0].file.read(), str(files[0].filename))
        return {"session_id": session, "session_info": {"image": "image"}}

    @router.get("/{session_id}")
    def get(session_id: SessionId) -> dict[str, Any]:
        """Tells whether a session is there."""
        if sessions.image(session_id) is None:
            raise HTTPException(404, "There is no such session; create it again.")
        return {"image": "image"}

    @router.delete("/{session_id}")
    def remove(session_id: SessionId) -> dict[str, Any]:
        """Ends a session."""
        if not sessions.remove(session_id):
            raise HTTPException(404, "There is no such session; create it again.")
        return {}

    return router
