"""Labels of the store's images: downloaded and saved."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from breastkit.server.labels.label_files import read_labels, write_labels
from breastkit.server.labels.reading_endpoints import decided
from breastkit.server.labels.saved_labels import FINAL, reader_of
from breastkit.server.media_types import media_type_of
from breastkit.server.security.access import asker_of, refuse_below, user_of
from breastkit.server.security.request_values import (
    ImageId,
    LabelExtension,
    Params,
    ReviewOptions,
    Tag,
    Upload,
    Version,
    options_of,
    read_params,
    received,
)
from breastkit.server.security.users import Role
from breastkit.server.services import Services
from breastkit.server.studies.study_store import info_of
from breastkit.temporary import temporary_folder


def label_endpoints(services: Services) -> APIRouter:
    """Returns the endpoints of labels.

    Args:
        services: with the store.
    """
    router = APIRouter(prefix="/datastore/label")
    store, readings = services.store, services.readings

    def shown(request: Request, image: str, tag: str) -> str:
        return readings.tag_to_show(asker_of(request), image, tag)

    @router.head("", include_in_schema=False)
    @router.get("")
    def label(
        request: Request, label: ImageId, tag: Tag = "", version: Version = None, extension: LabelExtension = None
    ) -> Response:
        """Gives a label as a file: as it is kept, or as another format."""
        saved = store.label(label, shown(request, label, tag), version=version)
        if extension is None or saved.path.name.endswith(extension):
            suffix = "".join(saved.path.suffixes)
            return FileResponse(saved.path, media_type=media_type_of(saved.path), filename=f"{label}{suffix}")
        with temporary_folder("request") as folder:
            grid = store.images.grid_of(store.image(label))
            path = write_labels(folder / f"label{extension}", read_labels(saved.path, grid, name=label), grid.affine)
            return Response(path.read_bytes(), media_type=media_type_of(path))

    @router.get("/versions")
    def versions(request: Request, label: ImageId, tag: Tag = "") -> list[dict[str, Any]]:
        """Tells of all versions of a label, the oldest first; none where there is no label or it is deleted."""
        found = store.versions(label, shown(request, label, tag))
        return [{"version": one.version, **info_of(one)} for one in found]

    @router.get("/info")
    def label_info(request: Request, label: ImageId, tag: Tag = "") -> dict[str, Any]:
        """Tells of a label."""
        return info_of(store.label(label, shown(request, label, tag)))

    @router.put("/info")
    def describe(request: Request, label: ImageId, tag: Tag = "", info: Params = "{}") -> dict[str, Any]:
        """Says something else of a label, as its next version."""
        who, said = asker_of(request), read_params(info)
        store.image(label)
        say = partial(store.describe, label, params=said, user=who.name)
        saved, says = readings.keep(who, label, tag, lambda tag, facts: say(tag, facts=facts))
        return {**info_of(saved), "says": says}

    @router.put("")
    def save(request: Request, image: ImageId, label: Upload, tag: Tag = "", params: Params = "{}") -> dict[str, Any]:
        """Saves a label; with ``review`` among its parameters a reviewer decides on one."""
        who, said = asker_of(request), read_params(params)
        if "review" in said:
            refuse_below(request, Role.REVIEWER)
            return decided(readings, who, store.image(image).id, options_of(ReviewOptions, said))
        with temporary_folder("request") as folder:
            save = partial(store.save, image, received(label, folder), params=said, user=who.name)
            saved, says = readings.keep(who, image, tag, lambda tag, facts: save(tag=tag, facts=facts))
        told = {"image": image, "label": image, "version": saved.version, "class": saved.info["class"]}
        return {**told, "tag": saved.tag, "says": says}

    @router.delete("")
    def delete(request: Request, id: ImageId, tag: Tag = FINAL) -> dict[str, Any]:
        """Has a label count for nothing; it can be restored."""
        store.image(id)
        store.labels.delete(id, tag or FINAL, user=user_of(request))
        return {"says": readings.settle(id)} if reader_of(tag) else {}

    @router.post("/restoration")
    def restore(id: ImageId, tag: Tag = FINAL) -> dict[str, Any]:
        """Has a deleted label count again."""
        store.image(id)
        saved = store.labels.restore(id, tag or FINAL)
        says = readings.settle(id) if reader_of(tag) else ""
        return {"image": id, "label": id, "version": saved.version, "says": says}

    return router
