"""What the server logged last, for administrators."""

from __future__ import annotations

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from breastkit.server.recent_log import KEPT_LINES
from breastkit.server.services import Services


def log_endpoints(services: Services) -> APIRouter:
    """Returns the endpoint that shows the log.

    Args:
        services: with the log.
    """
    router = APIRouter(prefix="/logs")

    @router.get("/", response_class=PlainTextResponse)
    def log(lines: int = Query(300, ge=1, le=KEPT_LINES)) -> str:
        """Gives the last lines of the log."""
        return "".join(f"{line}\n" for line in list(services.log.lines)[-lines:])

    return router
