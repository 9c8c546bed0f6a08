"""Images of the store: listed, downloaded, added."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from breastkit.server.labels.dataset_archive import write_archive
from breastkit.server.media_types import media_type_of
from breastkit.server.security.request_values import ImageId, Params, Upload, read_params, received
from breastkit.server.services import Services
from breastkit.server.studies.study_images import add_image, shown_name
from breastkit.server.studies.study_layout import StudyLayout
from breastkit.temporary import temporary_folder


class Listing(StrEnum):
    """What is told of the store."""

    STATS = "stats"
    ALL = "all"


def image_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints of images and labels.

    Args:
        services: with the store.
    """
    router = APIRouter(prefix="/datastore")
    store = services.store

    @router.get("/")
    def listing(output: Listing = Listing.STATS) -> dict[str, Any]:
        """Tells what the store holds."""
        return store.listing() if output is Listing.ALL else store.status()

    @router.head("/image", include_in_schema=False)
    @router.get("/image")
    def image(image: ImageId) -> Response:
        """Gives an image as a file."""
        path = store.file_of(image)
        return FileResponse(path, media_type=media_type_of(path), filename=shown_name(path))

    @router.get("/image/info")
    def image_info(image: ImageId) -> dict[str, Any]:
        """Tells of an image."""
        return dict(store.image(image).info)

    @router.get("/layout")
    def layout(study: ImageId) -> dict[str, Any]:
        """Tells which series of a study are its phases, and which is their subtraction, made here."""
        return (services.layouts.of(study) if services.layouts else StudyLayout()).told()

    @router.put("/")
    @router.put("/image")
    def add(file: Upload, image: ImageId = "", params: Params = "{}") -> dict[str, str]:
        """Takes a new image."""
        read_params(params)
        with temporary_folder("request") as folder:
            sent = received(file, folder)
            name = image if image not in ("", "None") else Path(str(file.filename)).name.partition(".")[0]
            return {"image": add_image(store.images, name, sent).id}

    @router.get("/dataset")
    def dataset(limit_cases: int = Query(0, ge=0)) -> Response:
        """Gives the labelled images with their labels, as a zip with a case list in it."""
        with ExitStack() as until_sent:
            folder = until_sent.enter_context(temporary_folder("dataset"))
            path = write_archive(store, folder / "dataset.zip", most=limit_cases)
            sent = BackgroundTask(until_sent.pop_all().close)
        return FileResponse(path, media_type="application/zip", filename=path.name, background=sent)

    return router
