"""The page at the server's address: what is there and where to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from breastkit.records import set_aside_in
from breastkit.report.page import render
from breastkit.saved_view import saved_views
from breastkit.server.information import information_of
from breastkit.server.labels.saved_labels import CLASSES
from breastkit.server.models.scoring_methods import Method
from breastkit.server.pages.readings_shown import name_of_image, readings_shown
from breastkit.server.security.access import asker_of, root_of, user_of
from breastkit.server.services import Services
from breastkit.server.studies.study_images import Form, StudyImage
from breastkit.server.studies.study_store import StudyStore
from breastkit.server.viewer.ohif import NO_VIEWER, has_viewer

_SHOWN = 200
# The folders that hold records, in the one of labels.
_RECORDS = (".", "final/*", "original/*", "readers/*/*", "tags/*/*", "reviews/*", ".training/*", ".cache")


def start_page_endpoint(services: Services) -> APIRouter:
    """Returns the endpoint of the start page.

    Args:
        services: what it tells of.
    """
    router = APIRouter()
    store = services.store

    @router.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page(request: Request) -> str:
        """Shows what is there."""
        labelled, viewer = set(store.labelled()), services.holds_dicom and has_viewer()
        images = sorted(store.images.all().values(), key=_place)
        shown = [
            {
                "name": name_of_image(image),
                "kind": _kind(image),
                "id": image.id,
                "study": image.info.get("StudyInstanceUID") if viewer else None,
                "label": _label(store, image) if image.id in labelled else "none",
            }
            for image in images[:_SHOWN]
        ]
        training = services.training.state() if services.training is not None else {"model": ""}
        told = information_of(services)
        return render(
            "annotation.html",
            root=root_of(request.scope),
            address=str(request.base_url),
            viewer=viewer,
            no_viewer=NO_VIEWER if services.holds_dicom and not viewer else "",
            pages=services.pages is not None,
            user=user_of(request),
            work=readings_shown(services, asker_of(request), viewer=viewer),
            beside={name: services.companions.get(name, "") for name in ("page", "mlflow")},
            tracked=saved_views(mlflow) if (mlflow := services.companions.get("mlflow")) else [],
            total=len(images),
            completed=len(labelled),
            models=list(told["models"].items()),
            labels=_told_of_labels(store, len(labelled), len(images), told["scoring"]),
            scoring=services.scoring.state() if services.scoring is not None else None,
            training=f"{training['model']}: {training['says']}" if training["model"] else "",
            damaged=_set_aside(services),
            images=shown,
            more=max(0, len(images) - _SHOWN),
        )

    return router


def _set_aside(services: Services) -> list[str]:
    """Returns the names of records that were damaged, which somebody should look at."""
    found = set_aside_in(services.store.folder, _RECORDS)
    for model in services.trainable.values():
        found += [f"{model.name}/{name}" for name in set_aside_in(model.bundle.promoted, (".", "*"))]
    return found


def _told_of_labels(
    store: StudyStore, labelled: int, total: int, scoring: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Returns what is known of the labels and of the model they train, each with its name."""
    found = [("Labelled so far", f"{labelled} of {total}")]
    classes = Counter(
        saved.info["class"]
        for image in store.labels.labelled()
        if (saved := store.labels.current(image)) is not None and saved.info["class"]
    )
    if classes:
        counts = ", ".join(f"{classes[name]} {name}" for name in CLASSES if classes[name])
        found.append(("Classes that annotators set", counts))
    for method, what in (
        (Method.DICE, "Dice of the model against labels of {}"),
        (Method.UNCERTAINTY, "Mean uncertainty of {} without a label"),
    ):
        told = scoring.get(method, {})
        for kind in ("pictures", "volumes"):
            measured = told.get(kind, {})
            if measured.get(method) is not None:
                value = f"{measured[method]:.3f} over {measured['images']} {kind}, measured {told['computed'][:10]}"
                found.append((what.format(kind), value))
    return found


def _place(image: StudyImage) -> tuple[str, ...]:
    """Returns what images are sorted by: those of a patient stand together, those of a study in their order."""
    return (*(str(image.info.get(key) or "") for key in ("PatientID", "StudyDate", "SeriesDescription")), image.id)


def _kind(image: StudyImage) -> str:
    """Returns what an image is; of ultrasound a still and a clip are told apart where the headers are known."""
    kind, frames = str(image.info.get("Modality") or image.form.value), image.info.get("NumberOfFrames")
    if image.form is not Form.FRAMES or frames is None:
        return kind
    return f"{kind}, clip of {frames} frames" if frames > 1 else f"{kind}, still"


def _label(store: StudyStore, image: StudyImage) -> str:
    """Returns what is saved of an image, and by whom."""
    saved = store.labels.current(image.id)
    if saved is None:
        return "segmentation in the archive"
    by = f" by {saved.info['user']}" if saved.info["user"] else ""
    of_class = f", {saved.info['class']}" if saved.info["class"] else ""
    return f"version {saved.version}{by}{of_class}, {str(saved.info['saved'])[:10]}"
