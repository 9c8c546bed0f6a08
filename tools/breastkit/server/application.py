"""The server as one application: MONAI Label's protocol, the DICOMweb store, the viewer, behind one access control."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from breastkit.dicomweb.derived_series import WithDerivedSeries
from breastkit.dicomweb.forwarding import forwarding
from breastkit.dicomweb.store import store_app
from breastkit.errors import BreastkitError
from breastkit.server.heaps import share_heaps
from breastkit.server.information import information_endpoints
from breastkit.server.labels.candidate_endpoints import candidate_endpoints
from breastkit.server.labels.label_endpoints import label_endpoints
from breastkit.server.labels.reading_endpoints import reading_endpoints
from breastkit.server.labels.stored_segmentations import keep_as_label
from breastkit.server.log_endpoints import log_endpoints
from breastkit.server.models.choosing_endpoints import choosing_endpoints
from breastkit.server.models.inference_queue import BusyError
from breastkit.server.models.no_model_endpoints import no_model_endpoints
from breastkit.server.pages.start_page import start_page_endpoint
from breastkit.server.security.access import AccessControl, asker_of
from breastkit.server.security.audit import Audited, keep_names_out_of_logs
from breastkit.server.security.connection_times import time_connections
from breastkit.server.security.headers import AnswerHeaders
from breastkit.server.security.login_endpoints import login_endpoints
from breastkit.server.security.request_limits import BodyLimits, RateLimits
from breastkit.server.security.root_path import UnderPath
from breastkit.server.security.shown_sentences import without_folders
from breastkit.server.security.trusted_proxy import BehindProxy, believe_connections_alone
from breastkit.server.services import Services
from breastkit.server.studies.image_endpoints import image_endpoints
from breastkit.server.studies.remote_images import RemoteImages
from breastkit.server.studies.session_endpoints import session_endpoints
from breastkit.server.studies.study_images import DicomImages
from breastkit.server.viewer.ohif import viewing

_ENDPOINTS = (
    information_endpoints,
    image_endpoints,
    label_endpoints,
    candidate_endpoints,
    reading_endpoints,
    choosing_endpoints,
    session_endpoints,
    login_endpoints,
    log_endpoints,
    start_page_endpoint,
)


def application_for_uvicorn(services: Services) -> ASGIApp:
    """Returns the application, with what it asks of the process that serves it done."""
    keep_names_out_of_logs()
    time_connections()
    believe_connections_alone()
    share_heaps()
    return build_application(services)


def build_application(services: Services) -> ASGIApp:
    """Returns the ASGI application, with who may ask what and how much of it around the endpoints."""
    app: ASGIApp = build_endpoints(services)
    if services.layouts is not None:
        app = WithDerivedSeries(app, services.layouts.derived)
    app = BodyLimits(app, limits=services.limits)
    # From the inside: nobody without the right to it has a body read, and who asks too often is not even looked up.
    app = AccessControl(
        app,
        users=services.users,
        origins=services.origins,
        only_reads=services.only_reads,
        links=services.links,
    )
    app = AnswerHeaders(Audited(RateLimits(app, limits=services.limits), log=services.audit))
    if services.proxy is not None:
        app = BehindProxy(app, proxy=services.proxy)
    return UnderPath(app, root=services.root_path) if services.root_path else app


def build_endpoints(services: Services) -> FastAPI:
    """Returns the endpoints alone, open to everybody; what each of them asks for is `breastkit.server.security`'s."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        services.close()

    server = FastAPI(title="Breast imaging annotation", docs_url=None, redoc_url=None, lifespan=lifespan)
    for endpoints in _ENDPOINTS:
        server.include_router(endpoints(services))
    for router in _model_endpoints(services):
        server.include_router(router)
    _add_dicomweb(server, services)
    if services.pages is not None:
        server.mount("/results", StaticFiles(directory=services.pages, html=True))
    server.add_exception_handler(BreastkitError, _answer_with_sentence(services))
    server.add_exception_handler(BusyError, _answer_busy)
    server.add_exception_handler(RequestValidationError, _answer_invalid)
    if services.origins:
        server.add_middleware(
            CORSMiddleware,
            allow_origins=services.origins,
            allow_methods=["*"],
            allow_headers=["authorization", "content-type"],
        )
    return server


def _model_endpoints(services: Services) -> list[APIRouter]:
    """Returns the endpoints that run and train models, or those that say that this server has none."""
    if services.training is None or services.batch is None:
        return [no_model_endpoints()]
    # Without models none of it is loaded.
    from breastkit.server.models.batch_endpoints import batch_endpoints
    from breastkit.server.models.inference_endpoints import inference_endpoints
    from breastkit.server.models.scoring_endpoints import scoring_endpoints
    from breastkit.server.models.training_endpoints import training_endpoints

    return [
        inference_endpoints(services),
        batch_endpoints(services, services.batch),
        training_endpoints(services, services.training),
        scoring_endpoints(services),
    ]


def _add_dicomweb(server: FastAPI, services: Services) -> None:
    """Adds the viewer and what it reads, where the images are DICOM: our own store, or the other server's passed on."""
    store = services.store

    def keep(data: bytes, request: Request) -> str:
        return keep_as_label(store, services.readings, data, asker_of(request))

    if isinstance(store.images, DicomImages) and store.dicom is not None:
        server.mount("/dicom-web", store_app(store.images.index, store.dicom, after_storing=keep))
    elif isinstance(store.images, RemoteImages):
        server.include_router(forwarding(store.images.address, after_storing=keep))
    if services.holds_dicom:
        server.include_router(viewing())


def _answer_with_sentence(services: Services) -> Callable[[Request, Exception], Response]:
    folders = (services.store.folder, *services.store.images.folders, tempfile.gettempdir())

    def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": without_folders(str(error), *folders)}, 400)

    return answer


def _answer_busy(request: Request, error: Exception) -> Response:
    retry_after = error.retry_after if isinstance(error, BusyError) else 1
    return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": str(retry_after)})


def _answer_invalid(request: Request, error: Exception) -> Response:
    errors = error.errors() if isinstance(error, RequestValidationError) else ()
    parts = sorted({str(item["loc"][-1])[:40] for item in errors})
    return JSONResponse({"detail": f"{', '.join(parts)} has no value that is allowed; correct the request."}, 422)
