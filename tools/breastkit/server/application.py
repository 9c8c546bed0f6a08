"""The server as one application: MONAI Label's protocol, the DICOMweb store, the viewer, behind one access control."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from breastkit.dicomweb.forwarding import forwarding
from breastkit.dicomweb.store import store_app
from breastkit.errors import BreastkitError
from breastkit.server.endpoints import choosing, inferring, informing, lending, scoring, storing, training
from breastkit.server.labels.stored_segmentations import keep_as_label
from breastkit.server.models.inference_queue import BusyError
from breastkit.server.pages.start_page import starting
from breastkit.server.security.access import USER, AccessControl, logging_in
from breastkit.server.security.audit import AUDIT_FOLDER, Audited, AuditLog, Endpoints
from breastkit.server.security.request_limits import BodyLimits, Limits, RateLimits
from breastkit.server.security.root_path import UnderPath
from breastkit.server.security.trusted_proxy import BehindProxy, TrustedProxy
from breastkit.server.security.users import Users
from breastkit.server.studies.remote_images import RemoteImages
from breastkit.server.studies.sessions import Sessions
from breastkit.server.studies.study_images import DicomImages, FileImages
from breastkit.server.viewer.ohif import viewing

# Endpoints that OpenAPI's description leaves out.
_NOT_DESCRIBED = ("/", "/openapi.json", "/dicom-web/{path:path}", "/ohif/{path:path}", "/results/{path:path}")


def build_application(
    app: Any,
    *,
    users: Users | None = None,
    origins: Iterable[str] = (),
    pages: str | Path | None = None,
    limits: Limits | None = None,
    proxy: TrustedProxy | None = None,
    root_path: str = "",
) -> Any:
    """Returns the ASGI application around a MONAI Label app.

    Args:
        app: ours, from ``apps/breast_monailabel/main.py``.
        users: those who may log in; None to serve this machine alone.
        origins: addresses of pages, beside our own, that may ask.
        pages: a folder of pages to show under ``/results/``.
        limits: of requests; by default those of `Limits`.
        proxy: says who asks, beside those who log in here.
        root_path: where a reverse proxy shows the server, as ``/breast``; empty for the top.
    """
    store = app.datastore()
    sessions, audit = Sessions(), AuditLog(store.folder / AUDIT_FOLDER)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        sessions.close()
        audit.close()

    server = FastAPI(title="Breast imaging annotation", docs_url=None, redoc_url=None, lifespan=lifespan)
    for router in (
        informing(app),
        inferring(app, app.queue, sessions),
        storing(app),
        choosing(app),
        lending(sessions),
        training(app),
        scoring(app),
        logging_in(users),
    ):
        server.include_router(router)
    dicom = not isinstance(store.images, FileImages)
    templates = list(server.openapi()["paths"])

    def keep(data: bytes, request: Request) -> str:
        return keep_as_label(store, data, str(request.scope.get(USER, "")))

    if isinstance(store.images, DicomImages):
        dicomweb = store_app(store.images.index, store.dicom, after_storing=keep)
        server.mount("/dicom-web", dicomweb)
        templates += [f"/dicom-web{path}" for path in dicomweb.openapi()["paths"]]
    elif isinstance(store.images, RemoteImages):
        server.include_router(forwarding(store.images.address, after_storing=keep))
    if pages is not None:
        server.mount("/results", StaticFiles(directory=pages, html=True))
    server.include_router(starting(app, dicom=dicom, pages=pages is not None))
    if dicom:
        server.include_router(viewing())
    server.add_exception_handler(BreastkitError, _answer_with_sentence)
    server.add_exception_handler(BusyError, _answer_busy)
    server.add_exception_handler(RequestValidationError, _answer_invalid)
    origins = tuple(origins)
    if origins:
        server.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["authorization", "content-type"]
        )
    limits = limits or Limits()
    # From the inside: nobody without the right to it has a body read, and who asks too often is not even looked up.
    controlled = AccessControl(BodyLimits(server, limits=limits), users=users, origins=origins)
    limited = RateLimits(controlled, limits=limits)
    audited = Audited(limited, log=audit, endpoints=Endpoints([*templates, *_NOT_DESCRIBED]))
    believing = BehindProxy(audited, proxy=proxy) if proxy is not None else audited
    return UnderPath(believing, root=root_path) if root_path else believing


def _answer_with_sentence(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 400)


def _answer_busy(request: Request, error: Exception) -> Response:
    retry_after = error.retry_after if isinstance(error, BusyError) else 1
    return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": str(retry_after)})


def _answer_invalid(request: Request, error: RequestValidationError) -> Response:
    parts = sorted({str(item["loc"][-1])[:40] for item in error.errors()})
    return JSONResponse({"detail": f"{', '.join(parts)} has no value that is allowed; correct the request."}, 422)
