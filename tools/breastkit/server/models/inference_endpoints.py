"""Running models on an image of the store, one that was lent, or one sent along."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from fastapi import APIRouter, HTTPException, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from requests_toolbelt import MultipartEncoder

from breastkit.dicom.write_seg import Algorithm
from breastkit.errors import BreastkitError
from breastkit.server.labels.label_files import write_labels
from breastkit.server.labels.saved_labels import ORIGINAL
from breastkit.server.media_types import media_type_of
from breastkit.server.models.batch_inference import keep_prediction
from breastkit.server.models.box_markups import MARKUPS_SUFFIX, write_markups
from breastkit.server.models.findings_archive import write_findings_archive
from breastkit.server.models.inference_queue import InferenceQueue
from breastkit.server.models.model_list import why_not_served
from breastkit.server.models.prompted_models import PromptedModel
from breastkit.server.models.prompts import ImagePrompts, prompts_of
from breastkit.server.models.served_models import Prediction, SegmentationModel, ServedModel
from breastkit.server.security.access import refuse_to_write, user_of
from breastkit.server.security.request_values import (
    ImageId,
    InferenceOptions,
    MaybeUpload,
    ModelName,
    Params,
    options_of,
    read_params,
    received,
)
from breastkit.server.services import Services
from breastkit.server.studies.sessions import image_of_upload
from breastkit.server.studies.study_images import StudyImage, StudyImages
from breastkit.server.studies.study_phases import phases_in_store
from breastkit.server.studies.study_store import SegmentationHeader, StudyStore
from breastkit.temporary import temporary_folder


class Output(StrEnum):
    """What an inference answers with."""

    IMAGE = "image"
    JSON = "json"
    ALL = "all"
    DICOM_SEG = "dicom_seg"
    REPORT = "report"


def inference_endpoints(services: Services) -> APIRouter:
    """Returns the endpoint that runs models, one at a time.

    Args:
        services: with the models, the store and the images that clients lent.
    """
    router = APIRouter()
    store = services.store

    @router.post("/infer/{model}")
    def infer(
        request: Request,
        model: ModelName,
        image: ImageId = "",
        session_id: str = Query("", pattern=r"^([0-9a-f]{32})?$"),
        params: Params = "{}",
        file: MaybeUpload = None,
        label: MaybeUpload = None,
        output: Output = Output.ALL,
    ) -> Response:
        """Runs a model on an image of the store, of a session, or sent along, after prompts where it follows any.

        With ``output=report`` a zip has DICOM SEG and SR, the report and ``findings.json``, of models that are
        pipelines of `breastkit run`; nothing of it is kept.
        """
        task = services.models.get(model)
        if task is None:
            raise HTTPException(404, why_not_served(model))
        given = read_params(params)
        options = options_of(InferenceOptions, given)
        if options.save_label:
            refuse_to_write(request)
        with temporary_folder("request") as folder:
            chosen, images = _chosen(services, image, session_id, file, folder)
            prompts = prompts_of(given, task.labels, received(label, folder, "label") if label is not None else None)
            if prompts and not isinstance(task, PromptedModel):
                _refuse_prompts(task, services.models.values())
            if output is Output.REPORT:
                report = _reported(services.queue, task, chosen, images, folder, user_of(request))
                return Response(report.read_bytes(), media_type=media_type_of(report))
            prediction = _predicted(services.queue, task, chosen, images, prompts, user_of(request))
            says = _told_of(task, prediction.says)
            # What was lent or sent along is no image of the store, whatever it is called.
            if options.save_label and prediction.labels is not None and not session_id and file is None:
                keep_prediction(store, chosen, prediction, task, tag=ORIGINAL, user=user_of(request))
            if output is Output.JSON:
                return JSONResponse(says)
            path = _write(folder, prediction, task, store, chosen, options, as_segmentation=output is Output.DICOM_SEG)
            if output is not Output.ALL:
                return Response(path.read_bytes(), media_type=media_type_of(path))
            parts = {
                "params": (None, json.dumps(says), "application/json"),
                "image": (path.name, path.read_bytes(), media_type_of(path)),
            }
            message = MultipartEncoder(fields=parts)
            return Response(message.to_string(), media_type=message.content_type)

    return router


def _predicted(
    queue: InferenceQueue, task: ServedModel, image: StudyImage, images: StudyImages, prompts: ImagePrompts, user: str
) -> Prediction:
    """Runs a model when it is the user's turn; on small pictures together with what others ask of it."""
    phases_of = partial(phases_in_store, images)
    if isinstance(task, PromptedModel):
        return queue.run(lambda: task.follow(image, prompts, images.file_of, phases_of), who=user)
    if isinstance(task, SegmentationModel) and task.takes_together(image):
        return queue.run_together(task.predict_together, image, who=user)
    return queue.run(lambda: task.predict(image, images.file_of, phases_of), who=user)


def _refuse_prompts(task: ServedModel, models: Iterable[ServedModel]) -> NoReturn:
    able = [one.name for one in models if isinstance(one, PromptedModel) and one.modality == task.modality]
    ask = f"ask {' or '.join(able)}" if able else "no model here does"
    raise BreastkitError(f"{task.name} follows no clicks, boxes or scribbles, so it did not run; {ask}.")


def _reported(
    queue: InferenceQueue, task: ServedModel, image: StudyImage, images: StudyImages, folder: Path, user: str
) -> Path:
    """Writes what `breastkit run` writes of an image when it is the user's turn."""
    phases_of = partial(phases_in_store, images)
    return queue.run(lambda: write_findings_archive(task.findings(image, phases_of), folder), who=user)


def _write(
    folder: Path,
    prediction: Prediction,
    task: ServedModel,
    store: StudyStore,
    image: StudyImage,
    options: InferenceOptions,
    *,
    as_segmentation: bool,
) -> Path:
    """Writes what a model answers with as a file."""
    if prediction.labels is None and as_segmentation:
        raise BreastkitError(f"{task.name} answers with boxes, not with a mask; ask for another output.")
    if prediction.labels is None:
        (label,) = task.labels
        return write_markups(folder / f"boxes{MARKUPS_SUFFIX}", prediction.boxes, label=label)
    if as_segmentation:
        algorithm = Algorithm(task.name, task.version_of_weights().split()[0])
        return store.write_segmentation(
            folder / "segmentation.dcm",
            image,
            prediction.labels,
            prediction.affine,
            task.labels,
            told=SegmentationHeader(description=task.name, algorithms=dict.fromkeys(task.labels, algorithm)),
        )
    path = folder / f"label{options.result_extension}"
    return write_labels(path, prediction.labels, prediction.affine, compress=options.result_compress)


def _chosen(
    services: Services, image: str, session: str, file: UploadFile | None, folder: Path
) -> tuple[StudyImage, StudyImages]:
    """Returns the image to run on, and the images it is one of."""
    if session:
        lent = services.sessions.find(session)
        if lent is None:
            raise HTTPException(404, "There is no such session; create it again.")
        return lent.image, lent.images or services.store.images
    if file is not None:
        return image_of_upload(file.file.read(), str(file.filename), folder), services.store.images
    return services.store.image(image), services.store.images


def _told_of(task: ServedModel, says: dict[str, Any]) -> dict[str, Any]:
    """Returns what goes with a mask: viewers name and colour its labels by it."""
    return {
        **says,
        "model": task.name,
        "label_names": task.labels,
        "label_colors": task.colours,
        "notice": "For research, not for diagnosis.",
    }
