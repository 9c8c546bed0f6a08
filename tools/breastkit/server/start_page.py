"""The page at the server's address: what is there and where to go."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from breastkit.report.page import render
from breastkit.server.study_store import StudyStore

_SHOWN = 200


def starting(app: Any, *, dicom: bool, pages: bool) -> APIRouter:
    """Returns the endpoint of the start page.

    Args:
        app: the MONAI Label app.
        dicom: whether there is a DICOMweb address for the viewer.
        pages: whether there are results to look at.
    """
    router = APIRouter()
    store: StudyStore = app.datastore()

    @router.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page(request: Request) -> str:
        """Shows what is there."""
        root = request.scope.get("root_path", "").rstrip("/")
        labelled = set(store.get_labeled_images())
        images = list(store.images.all().values())
        shown = [
            {
                "name": _name(image),
                "kind": str(image.info.get("Modality") or image.form.value),
                "study": image.info.get("StudyInstanceUID") if dicom else None,
                "labelled": image.id in labelled,
            }
            for image in images[:_SHOWN]
        ]
        training = app.training.state()
        return render(
            "annotation.html",
            root=root,
            address=str(request.base_url),
            dicom=dicom,
            pages=pages,
            total=len(images),
            completed=len(labelled),
            models=list(app.info()["models"].items()),
            training=f"{training['model']}: {training['says']}" if training["model"] else "",
            images=shown,
            more=max(0, len(images) - _SHOWN),
        )

    return router


def _name(image: Any) -> str:
    parts = [str(image.info.get(key) or "") for key in ("PatientID", "SeriesDescription")]
    return " ".join(part for part in parts if part) or image.id
