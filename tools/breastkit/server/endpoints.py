"""MONAI Label's protocol, with endpoints of our own: every value has a type, no request names a file.

They are plain functions, so that the server runs them in threads and answers others meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response
from requests_toolbelt import MultipartEncoder

from breastkit.dicom.write_seg import Algorithm
from breastkit.errors import BreastkitError
from breastkit.server.labels.label_files import write_labels
from breastkit.server.labels.saved_labels import FINAL, ORIGINAL
from breastkit.server.models.box_markups import MARKUPS_SUFFIX, write_markups
from breastkit.server.models.inference_queue import InferenceQueue
from breastkit.server.models.model_list import why_not_served
from breastkit.server.models.scoring import Method
from breastkit.server.models.served_models import Prediction, ServedModel
from breastkit.server.security.access import USER
from breastkit.server.security.request_values import (
    ChoosingOptions,
    ImageId,
    InferenceOptions,
    ModelName,
    SessionId,
    StrategyName,
    Tag,
    TrainingOptions,
    checked_params,
    options_of,
    read_params,
)
from breastkit.server.studies.sessions import Sessions, image_of_upload
from breastkit.server.studies.study_images import Grid, StudyImage
from breastkit.server.studies.study_phases import phases_in_store
from breastkit.server.studies.study_store import StudyStore
from breastkit.temporary import temporary_folder

Params = Annotated[str, Form()]
JsonBody = Annotated[Any, Body()]
Upload = Annotated[UploadFile, File()]
MaybeUpload = Annotated[UploadFile | None, File()]
Uploads = Annotated[list[UploadFile], File()]
_MEDIA_TYPES = {
    ".png": "image/png", ".gz": "application/gzip", ".dcm": "application/dicom", ".json": "application/json",
}  # fmt: skip


class Output(StrEnum):
    """What an inference answers with."""

    IMAGE = "image"
    JSON = "json"
    ALL = "all"
    DICOM_SEG = "dicom_seg"


class Listing(StrEnum):
    """What is told of the store."""

    STATS = "stats"
    ALL = "all"


def user_of(request: Request) -> str:
    """Returns who asks; empty where nobody logs in."""
    return str(request.scope.get(USER, ""))


def informing(app: Any) -> APIRouter:
    """Returns the endpoint that tells what there is.

    Args:
        app: the MONAI Label app.
    """
    router = APIRouter()

    @router.get("/info/")
    def info() -> dict[str, Any]:
        """Tells models, strategies, trainers and the state of the store."""
        return app.info()

    return router


def inferring(app: Any, queue: InferenceQueue, sessions: Sessions) -> APIRouter:
    """Returns the endpoint that runs models.

    Args:
        app: the MONAI Label app.
        queue: runs one at a time.
        sessions: images that clients lent.
    """
    router = APIRouter()
    store: StudyStore = app.datastore()

    @router.post("/infer/{model}")
    def infer(
        request: Request,
        model: ModelName,
        image: ImageId = "",
        session_id: str = Query("", pattern=r"^([0-9a-f]{32})?$"),
        params: Params = "{}",
        file: MaybeUpload = None,
        output: Output = Output.ALL,
    ) -> Response:
        """Runs a model on an image of the store, of a session, or sent along."""
        task = app.models.get(model)
        if task is None:
            raise HTTPException(404, why_not_served(model))
        options = options_of(InferenceOptions, read_params(params))
        with temporary_folder("request") as folder:
            chosen = _chosen(store, sessions, image, session_id, file, folder)
            phases_of = partial(phases_in_store, store.images)
            prediction = queue.run(lambda: task.predict(chosen, store.images.file_of, phases_of))
            says = _told_of(task, prediction.says)
            if options.save_label and prediction.labels is not None and chosen.id in store.images.all():
                grid = Grid(prediction.labels.shape, prediction.affine)
                store.labels.save(chosen.id, prediction.labels, grid, tag=ORIGINAL, names=task.labels)
            if output is Output.JSON:
                return JSONResponse(says)
            path = _write(folder, prediction, task, store, chosen, options, as_segmentation=output is Output.DICOM_SEG)
            if output is not Output.ALL:
                return Response(path.read_bytes(), media_type=_media_type(path))
            parts = {
                "params": (None, json.dumps(says), "application/json"),
                "image": (path.name, path.read_bytes(), _media_type(path)),
            }
            message = MultipartEncoder(fields=parts)
            return Response(message.to_string(), media_type=message.content_type)

    return router


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
            algorithm=algorithm,
        )
    path = folder / f"label{options.result_extension}"
    return write_labels(path, prediction.labels, prediction.affine, compress=options.result_compress)


def _chosen(
    store: StudyStore, sessions: Sessions, image: str, session: str, file: UploadFile | None, folder: Path
) -> StudyImage:
    if session:
        lent = sessions.image(session)
        if lent is None:
            raise HTTPException(404, "There is no such session; create it again.")
        return lent
    if file is not None:
        return image_of_upload(file.file.read(), str(file.filename), folder)
    return store.image(image)


def _told_of(task: Any, says: dict[str, Any]) -> dict[str, Any]:
    """Returns what goes with a mask: viewers name and colour its labels by it."""
    return {
        **says,
        "model": task.name,
        "label_names": task.labels,
        "label_colors": task.colours,
        "notice": "For research, not for diagnosis.",
    }


def _media_type(path: Path) -> str:
    return _MEDIA_TYPES.get(path.suffix, "application/octet-stream")


def storing(app: Any) -> APIRouter:
    """Returns the endpoints of images and labels.

    Args:
        app: the MONAI Label app.
    """
    router = APIRouter(prefix="/datastore")
    store: StudyStore = app.datastore()

    @router.get("/")
    def listing(output: Listing = Listing.STATS) -> dict[str, Any]:
        """Tells what the store holds."""
        return store.json() if output is Listing.ALL else store.status()

    @router.head("/image", include_in_schema=False)
    @router.get("/image")
    def image(image: ImageId) -> Response:
        """Gives an image as a file."""
        path = Path(store.get_image_uri(image))
        return FileResponse(path, media_type=_media_type(path), filename=path.name)

    @router.get("/image/info")
    def image_info(image: ImageId) -> dict[str, Any]:
        """Tells of an image."""
        return store.get_image_info(image)

    @router.put("/")
    @router.put("/image")
    def add(file: Upload, image: ImageId = "", params: Params = "{}") -> dict[str, str]:
        """Takes a new image."""
        read_params(params)
        with temporary_folder("request") as folder:
            sent = _received(file, folder)
            name = image if image not in ("", "None") else Path(str(file.filename)).name.partition(".")[0]
            return {"image": store.add_image(name, str(sent), {})}

    @router.head("/label", include_in_schema=False)
    @router.get("/label")
    def label(label: ImageId, tag: Tag = FINAL) -> Response:
        """Gives a label as a file."""
        path = Path(store.get_label_uri(label, tag or FINAL))
        suffix = "".join(path.suffixes)
        return FileResponse(path, media_type=_media_type(path), filename=f"{label}{suffix}")

    @router.get("/label/info")
    def label_info(label: ImageId, tag: Tag = FINAL) -> dict[str, Any]:
        """Tells of a label."""
        return store.get_label_info(label, tag or FINAL)

    @router.put("/label")
    def save(
        request: Request, image: ImageId, label: Upload, tag: Tag = FINAL, params: Params = "{}"
    ) -> dict[str, Any]:
        """Saves a label."""
        said = read_params(params)
        with temporary_folder("request") as folder:
            sent = _received(label, folder)
            saved = store.save(image, sent, tag=tag or FINAL, params=said, user=user_of(request))
        return {"image": image, "label": image, "version": saved.version, "class": saved.info["class"]}

    return router


def _received(file: UploadFile, folder: Path) -> Path:
    """Writes an upload under a name of ours; of the client's only the suffix is used."""
    name = str(file.filename or "").lower()
    suffix = next((end for end in (".nii.gz", ".nii", ".nrrd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
                   if name.endswith(end)), ".unknown")  # fmt: skip
    path = folder / f"sent{suffix}"
    path.write_bytes(file.file.read())
    return path


def choosing(app: Any) -> APIRouter:
    """Returns the endpoint that says what to annotate next.

    Args:
        app: the MONAI Label app.
    """
    router = APIRouter()
    store: StudyStore = app.datastore()

    @router.post("/activelearning/{strategy}")
    def next_sample(strategy: StrategyName, params: JsonBody = None) -> dict[str, Any]:
        """Chooses an image without a label; an empty answer says that all have one."""
        options = options_of(ChoosingOptions, checked_params(params))
        if strategy not in app.strategies:
            raise HTTPException(404, "There is no such strategy; /info/ lists them.")
        image_id = app.strategies[strategy](options.model_dump(), store)
        if image_id is None:
            return {}
        path = Path(store.get_image_uri(image_id))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"id": image_id, "name": path.name, "checksum": f"SHA256:{digest}", **store.get_image_info(image_id)}

    return router


def lending(sessions: Sessions) -> APIRouter:
    """Returns the endpoints of sessions.

    Args:
        sessions: images that clients lend.
    """
    router = APIRouter(prefix="/session")

    @router.put("/")
    def create(files: Uploads) -> dict[str, Any]:
        """Takes an image for some inferences."""
        if len(files) != 1:
            raise BreastkitError("A session holds one image; send one file.")
        session = sessions.add(files[0].file.read(), str(files[0].filename))
        return {"session_id": session, "session_info": {"image": "image"}}

    @router.get("/{session_id}")
    def get(session_id: SessionId) -> dict[str, Any]:
        """Tells whether a session is there."""
        if sessions.image(session_id) is None:
            raise HTTPException(404, "There is no such session; create it again.")
        return {"image": "image"}

    @router.delete("/{session_id}")
    def remove(session_id: SessionId) -> dict[str, Any]:
        """Ends a session."""
        if not sessions.remove(session_id):
            raise HTTPException(404, "There is no such session; create it again.")
        return {}

    return router


def training(app: Any) -> APIRouter:
    """Returns the endpoints that train on saved labels.

    Args:
        app: the MONAI Label app.
    """
    router = APIRouter(prefix="/train")

    def start(model: str, params: Any) -> dict[str, Any]:
        task = app.trainers.get(model)
        if task is None:
            raise HTTPException(404, "There is no such trainer; /info/ lists them.")
        given = checked_params(params)
        # Viewers send the options of each trainer under its name.
        given = given[model] if isinstance(given.get(model), dict) else given
        return app.training.start(task.bundle, options_of(TrainingOptions, given))

    @router.get("/")
    def state(check_if_running: bool = False) -> dict[str, Any]:
        """Tells what the latest training does."""
        told = app.training.state()
        if told["status"] == "NONE" or (check_if_running and told["status"] != "RUNNING"):
            raise HTTPException(404, "No training is running.")
        return told

    @router.post("/")
    def train_default(params: JsonBody = None) -> dict[str, Any]:
        """Trains the first model that reads the store's images."""
        model = next((name for name in app.trainers if isinstance(params, dict) and name in params), None)
        return start(model or next(iter(app.trainers), ""), params)

    @router.post("/{model}")
    def train(model: ModelName, params: JsonBody = None) -> dict[str, Any]:
        """Trains a model."""
        return start(model, params)

    @router.delete("/")
    def stop() -> dict[str, Any]:
        """Stops a running training."""
        return app.training.stop()

    return router


def scoring(app: Any) -> APIRouter:
    """Returns the endpoints that measure the models against labels, and what they do not know yet.

    Args:
        app: the MONAI Label app.
    """
    router = APIRouter(prefix="/scoring")

    def start(methods: list[Method]) -> dict[str, Any]:
        if app.scoring is None:
            raise HTTPException(404, "Nothing can be scored: there is no model that outlines.")
        return app.scoring.start(*methods)

    @router.get("/")
    def state(check_if_running: bool = False) -> dict[str, Any]:
        """Tells what the latest scoring does."""
        told = {"status": "NONE"} if app.scoring is None else app.scoring.state()
        if told["status"] == "NONE" or (check_if_running and told["status"] != "RUNNING"):
            raise HTTPException(404, "No scoring is running.")
        return told

    @router.post("/")
    def score_all(params: JsonBody = None) -> dict[str, Any]:
        """Starts all methods."""
        checked_params(params)
        return start(list(Method))

    @router.post("/{method}")
    def score(method: Method, params: JsonBody = None) -> dict[str, Any]:
        """Starts a method."""
        checked_params(params)
        return start([method])

    @router.delete("/")
    def stop() -> dict[str, Any]:
        """Stops a running scoring."""
        if app.scoring is None:
            raise HTTPException(404, "No scoring is running.")
        return app.scoring.stop()

    return router
