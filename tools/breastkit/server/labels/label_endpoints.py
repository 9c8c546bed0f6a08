"""Labels of the store's images: downloaded and saved."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from breastkit.server.labels.label_files import read_labels, write_labels
from breastkit.server.labels.saved_labels import FINAL
from breastkit.server.media_types import media_type_of
from breastkit.server.security.access import user_of
from breastkit.server.security.request_values import (
    ImageId,
    LabelExtension,
    Params,
    Tag,
    Upload,
    Version,
    read_params,
    received,
)
from breastkit.server.services import Services
from breastkit.server.studies.study_store import info_of
from breastkit.temporary import temporary_folder


def label_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints of labels.

    Args:
        services: with the store.
    """
    router = APIRouter(prefix="/datastore/label")
    store = services.store

    @router.head("", include_in_schema=False)
    @router.get("")
    def label(label: ImageId, tag: Tag = FINAL, version: Version = None, extension: LabelExtension = None) -> Response:
        """Gives a label as a file: as it is kept, or as another format."""
        saved = store.label(label, tag or FINAL, version=version)
        if extension is None or saved.path.name.endswith(extension):
            suffix = "".join(saved.path.suffixes)
            return FileResponse(saved.path, media_type=media_type_of(saved.path), filename=f"{label}{suffix}")
        with temporary_folder("request") as folder:
            grid = store.images.grid_of(store.image(label))
            path = write_labels(folder / f"label{extension}", read_labels(saved.path, grid, name=label), grid.affine)
            return Response(path.read_bytes(), media_type=media_type_of(path))

    @router.get("/versions")
    def versions(label: ImageId, tag: Tag = FINAL) -> list[dict[str, Any]]:
        """Tells of all versions of a label, the oldest first; none where there is no label or it is deleted."""
        return [{"version": one.version, **info_of(one)} for one in store.versions(label, tag or FINAL)]

    @router.get("/info")
    def label_info(label: ImageId, tag: Tag = FINAL) -> dict[str, Any]:
        """Tells of a label."""
        return info_of(store.label(label, tag or FINAL))

    @router.put("/info")
    def describe(request: Request, label: ImageId, tag: Tag = FINAL, info: Params = "{}") -> dict[str, Any]:
        """Says something else of a label, as its next version."""
        return info_of(store.describe(label, tag or FINAL, read_params(info), user=user_of(request)))

    @router.put("")
    def save(
        request: Request, image: ImageId, label: Upload, tag: Tag = FINAL, params: Params = "{}"
    ) -> dict[str, Any]:
        """Saves a label."""
        said = read_params(params)
        with temporary_folder("request") as folder:
            sent = received(label, folder)
            saved = store.save(image, sent, tag=tag or FINAL, params=said, user=user_of(request))
        return {"image": image, "label": image, "version": saved.version, "class": saved.info["class"]}

    @router.delete("")
    def delete(request: Request, id: ImageId, tag: Tag = FINAL) -> dict[str, Any]:
        """Has a label count for nothing; it can be restored."""
        store.image(id)
        store.labels.delete(id, tag or FINAL, user=user_of(request))
        return {}

    @router.post("/restoration")
    def restore(id: ImageId, tag: Tag = FINAL) -> dict[str, Any]:
        """Has a deleted label count again."""
        store.image(id)
        saved = store.labels.restore(id, tag or FINAL)
        return {"image": id, "label": id, "version": saved.version}

    return router
