"""Images that clients lend for some inferences."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse, Response

from breastkit.server.media_types import media_type_of
from breastkit.server.security.request_values import SessionId, Uploads
from breastkit.server.services import Services

_NO_SESSION = "There is no such session; create it again."


def session_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints of sessions.

    Args:
        services: with the images that clients lend.
    """
    router = APIRouter(prefix="/session")
    sessions = services.sessions

    @router.put("/")
    def create(files: Uploads, expiry: int = Query(0, ge=0)) -> dict[str, Any]:
        """Takes an image, the phases of a study or DICOM files for some inferences."""
        sent = [(str(file.filename), file.file.read()) for file in files]
        session = sessions.add(sent, kept_for=expiry)
        return {"session_id": session, "session_info": told_of(session)}

    @router.get("/{session_id}", response_model=None)
    def get(session_id: SessionId, update_ts: bool = False, image: bool = False) -> dict[str, Any] | Response:
        """Tells whether a session is there, keeps it longer, or gives its image."""
        told = told_of(session_id, keep=update_ts)
        if not image:
            return told
        session = sessions.find(session_id)
        if session is None:
            raise HTTPException(404, _NO_SESSION)
        path = (session.images or services.store.images).file_of(session.image)
        return FileResponse(path, media_type=media_type_of(path), filename=path.name)

    def told_of(session_id: str, *, keep: bool = False) -> dict[str, Any]:
        session = sessions.find(session_id, keep=keep)
        if session is None:
            raise HTTPException(404, _NO_SESSION)
        return {"image": "image", "expiry": round(session.until - time.monotonic())}

    @router.delete("/{session_id}")
    def remove(session_id: SessionId) -> dict[str, Any]:
        """Ends a session."""
        if not sessions.remove(session_id):
            raise HTTPException(404, _NO_SESSION)
        return {}

    return router
