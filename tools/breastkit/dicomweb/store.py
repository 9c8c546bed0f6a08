"""An embedded DICOMweb store over a folder of DICOM files: QIDO-RS, WADO-RS and STOW-RS for OHIF and MONAI Label.

The folder is only read. What clients store goes into a folder of its own and is searched and served with the rest.
Nothing but identifiers reaches the file system: files are found in the index, never by a path from a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from breastkit.atomic import make_folder
from breastkit.dicom.pixel_budget import TooManyPixelsError
from breastkit.dicom.repair_seg import repaired_segmentation
from breastkit.dicomweb.folder_index import FolderIndex, Instance
from breastkit.dicomweb.folder_search import Level, Query, search
from breastkit.dicomweb.media_types import Accepted, accepted_by, fits, should_decompress
from breastkit.dicomweb.multipart_related import PartsWriter, dicom_objects_in
from breastkit.dicomweb.retrieve import (
    NotDecodableError,
    UnreadableError,
    frames_of,
    metadata_of,
    object_of,
    rendered,
    served_syntax,
    stored_frame_form,
)
from breastkit.dicomweb.stored_folder import NOT_UNDERSTOOD, Outcome, StoredFolder
from breastkit.errors import BreastkitError

_JSON = "application/dicom+json"
_DICOM = "application/dicom"
_LONGEST_VALUE = 256
_MOST_FILTERS = 32
_THUMBNAIL = 256

# Takes a stored object and the request that brought it; returns what is to be said of it, mostly nothing.
AfterStoring = Callable[[bytes, Request], str]
Uid = Annotated[str, InPath(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]
FrameNumbers = Annotated[str, InPath(pattern=r"^[0-9]{1,6}(,[0-9]{1,6})*$", max_length=4096)]
FrameNumber = Annotated[int, InPath(ge=1, le=999_999)]


def dicom_store_app(
    folder: str | Path, *, stored: str | Path, largest_upload: int = 256 * 2**20, refresh_seconds: float = 10.0
) -> FastAPI:
    """Returns the store as an ASGI application, to run by itself or to mount under a path.

    Authentication is the business of whoever mounts it.

    Args:
        folder: DICOM files in any arrangement; never written to.
        stored: where clients' objects go, made if missing; it may lie in `folder`.
        largest_upload: most bytes of one request.
        refresh_seconds: how old the index may be before files that came or went are looked for.

    Raises:
        BreastkitError: if the folder is missing or `stored` cannot be written.
    """
    # Asked before `stored` is made, which may lie in it.
    if not Path(folder).is_dir():
        raise BreastkitError(f"{folder} is not a folder; name a folder of DICOM files.")
    index = FolderIndex((folder, make_folder(stored)), refresh_seconds=refresh_seconds)
    return store_app(index, StoredFolder(stored, index), largest_upload=largest_upload)


def store_app(
    index: FolderIndex,
    stored: StoredFolder,
    *,
    largest_upload: int = 256 * 2**20,
    after_storing: AfterStoring | None = None,
) -> FastAPI:
    """Returns the store over an index that others use too, as `dicom_store_app`.

    Args:
        index: knows the files.
        stored: takes clients' objects.
        largest_upload: most bytes of one request.
        after_storing: is given every object that was stored.
    """
    app = read_only_app(index)
    app.include_router(_storing(stored, largest_upload, after_storing))
    return app


def read_only_app(index: FolderIndex) -> FastAPI:
    """Returns the store over an index without what stores: searching and retrieving.

    Args:
        index: knows the files.
    """
    app = FastAPI(title="breastkit DICOMweb store", docs_url=None, redoc_url=None)
    app.state.index = index
    for part in (_searching, _retrieving, _looking):
        app.include_router(part(index))
    for error, status in (
        (UnreadableError, 404),
        (NotDecodableError, 406),
        (TooManyPixelsError, 413),
        (BreastkitError, 400),
    ):
        app.add_exception_handler(error, _answer_with(status))
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    return app


def _answer_with(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status)

    return answer


def _answer_invalid(request: Request, error: Exception) -> Response:
    errors = error.errors() if isinstance(error, RequestValidationError) else ()
    parts = sorted({str(item["loc"][-1]) for item in errors})
    return JSONResponse({"detail": f"{', '.join(parts)} is not as DICOMweb writes it; check the address."}, 400)


def _address(request: Request, key: Sequence[str]) -> str:
    """Returns the address of a study, series or instance as the client reached this server."""
    place = request.url.netloc
    server, port = request.scope.get("server") or ("", None)
    if place == server and port:
        # dicomweb-client leaves the port out of the Host header.
        place = f"{server}:{port}"
    base = f"{request.url.scheme}://{place}{request.scope.get('root_path', '').rstrip('/')}"
    return base + "".join(f"/{level.value}/{uid}" for level, uid in zip(Level, key, strict=False))


def _found(index: FolderIndex, study: str, series: str | None = None, uid: str | None = None) -> list[Instance]:
    instances = index.find(study, series, uid)
    if not instances:
        # The file may have come since the index was made.
        index.refresh_if_old()
        instances = index.find(study, series, uid)
    if not instances:
        raise HTTPException(404, f"There is no {uid or series or study} here; search for what there is.")
    return instances


# Searching (QIDO-RS)


def _searching(index: FolderIndex) -> APIRouter:
    router = APIRouter()

    def answer(request: Request, level: Level, study: str | None = None, series: str | None = None) -> Response:
        if not any(fits(kind, one.kind) for one in _accepted(request) for kind in (_JSON, "application/json")):
            raise HTTPException(406, f"Results are given as {_JSON}; accept that.")
        query = _query(request)
        index.refresh_if_old()
        results = search(index, level, query, study=study, series=series, url_of=lambda key: _address(request, key))
        return JSONResponse(results, media_type=_JSON)

    @router.get("/studies")
    def search_studies(request: Request) -> Response:
        """Searches for studies."""
        return answer(request, Level.STUDIES)

    @router.get("/series")
    def search_all_series(request: Request) -> Response:
        """Searches for series of all studies."""
        return answer(request, Level.SERIES)

    @router.get("/instances")
    def search_all_instances(request: Request) -> Response:
        """Searches for instances of all studies."""
        return answer(request, Level.INSTANCES)

    @router.get("/studies/{study}/series")
    def search_series(request: Request, study: Uid) -> Response:
        """Searches for series of a study."""
        return answer(request, Level.SERIES, study)

    @router.get("/studies/{study}/instances")
    def search_study_instances(request: Request, study: Uid) -> Response:
        """Searches for instances of a study."""
        return answer(request, Level.INSTANCES, study)

    @router.get("/studies/{study}/series/{series}/instances")
    def search_instances(request: Request, study: Uid, series: Uid) -> Response:
        """Searches for instances of a series."""
        return answer(request, Level.INSTANCES, study, series)

    return router


def _query(request: Request) -> Query:
    """Reads the parameters of a search; every result tells all that is indexed, so `includefield` adds nothing."""
    options: dict[str, Any] = {}
    wanted = []
    for name, value in request.query_params.multi_items():
        if len(value) > _LONGEST_VALUE and name != "includefield":
            raise BreastkitError(f"{name[:64]} is longer than {_LONGEST_VALUE} characters; shorten it.")
        if name in ("limit", "offset"):
            if not value.isascii() or not value.isdecimal():
                raise BreastkitError(f"{name} must be a whole number from 0; write it so.")
            options[name] = int(value)
        elif name == "fuzzymatching":
            if value.lower() not in ("true", "false"):
                raise BreastkitError("fuzzymatching must be true or false; write it so.")
            options["fuzzy"] = value.lower() == "true"
        elif name != "includefield":
            wanted.append((name, value))
    if len(wanted) > _MOST_FILTERS:
        raise BreastkitError(f"More than {_MOST_FILTERS} attributes are asked for; ask for fewer.")
    return Query.of(wanted, **options)


# Retrieving (WADO-RS)


def _retrieving(index: FolderIndex) -> APIRouter:
    router = APIRouter()

    def metadata(instances: Iterable[Instance]) -> Response:
        return JSONResponse([metadata_of(one) for one in instances], media_type=_JSON)

    @router.get("/studies/{study}/metadata")
    def study_metadata(study: Uid) -> Response:
        """Gives the headers of a study."""
        return metadata(_found(index, study))

    @router.get("/studies/{study}/series/{series}/metadata")
    def series_metadata(study: Uid, series: Uid) -> Response:
        """Gives the headers of a series."""
        return metadata(_found(index, study, series))

    @router.get("/studies/{study}/series/{series}/instances/{uid}/metadata")
    def instance_metadata(study: Uid, series: Uid, uid: Uid) -> Response:
        """Gives the header of an instance."""
        return metadata(_found(index, study, series, uid))

    @router.get("/studies/{study}")
    def retrieve_study(request: Request, study: Uid) -> Response:
        """Gives the objects of a study."""
        return _objects(request, _found(index, study))

    @router.get("/studies/{study}/series/{series}")
    def retrieve_series(request: Request, study: Uid, series: Uid) -> Response:
        """Gives the objects of a series."""
        return _objects(request, _found(index, study, series))

    @router.get("/studies/{study}/series/{series}/instances/{uid}")
    def retrieve_instance(request: Request, study: Uid, series: Uid, uid: Uid) -> Response:
        """Gives one object."""
        return _objects(request, _found(index, study, series, uid), alone=True)

    @router.get("/studies/{study}/series/{series}/instances/{uid}/frames/{numbers}")
    def retrieve_frames(request: Request, study: Uid, series: Uid, uid: Uid, numbers: FrameNumbers) -> Response:
        """Gives frames of an object."""
        (instance,) = _found(index, study, series, uid)
        return _frames(request, instance, [int(number) for number in numbers.split(",")])

    return router


def _accepted(request: Request) -> list[Accepted]:
    # A client that cannot set headers may say it in the address.
    return accepted_by(request.query_params.get("accept") or ",".join(request.headers.getlist("accept")))


def _objects(request: Request, instances: list[Instance], *, alone: bool = False) -> Response:
    fitting = [one for one in _accepted(request) if fits(_DICOM, one.kind) and (alone or one.several is not False)]
    if not fitting:
        raise HTTPException(406, f"Objects are given as multipart/related with parts of {_DICOM}; accept that.")
    forms = {one.uid: should_decompress(fitting, served_syntax(one)) for one in instances}
    if None in forms.values():
        raise HTTPException(406, "The transfer syntax cannot be given; accept any with transfer-syntax=*.")
    if fitting[0].several is False:
        return Response(object_of(instances[0], uncompressed=bool(forms[instances[0].uid])), media_type=_DICOM)
    # The first is read before the answer begins, so that what is gone or damaged can still be said.
    first = object_of(instances[0], uncompressed=bool(forms[instances[0].uid]))

    def parts() -> Iterator[tuple[str, bytes]]:
        yield _DICOM, first
        for one in instances[1:]:
            try:
                yield _DICOM, object_of(one, uncompressed=bool(forms[one.uid]))
            except BreastkitError:
                # Half an answer is of use: the others are whole.
                continue

    writer = PartsWriter(_DICOM)
    return StreamingResponse(writer.write(parts()), media_type=writer.content_type)


def _frames(request: Request, instance: Instance, numbers: list[int]) -> Response:
    accepted = [one for one in _accepted(request) if one.kind.partition("/")[0] in ("*", "application", "image")]
    if not accepted:
        raise HTTPException(406, "Frames are given as application/octet-stream or as compressed images; accept those.")
    kind, syntax = stored_frame_form(instance)
    fitting = [one for one in accepted if _takes_frame(one, kind, syntax)]
    uncompressed = not fitting
    if uncompressed and not any(fits("application/octet-stream", one.kind) for one in accepted):
        raise HTTPException(406, f"The frames are {kind}; accept that or application/octet-stream.")
    frames = frames_of(instance, numbers, uncompressed=uncompressed)
    if (fitting or accepted)[0].several is False and len(frames) == 1:
        return Response(frames[0].data, media_type=frames[0].media_type)
    writer = PartsWriter(frames[0].media_type)
    parts = [(f"{one.media_type}; transfer-syntax={one.transfer_syntax}", one.data) for one in frames]
    return StreamingResponse(writer.write(parts), media_type=writer.content_type)


def _takes_frame(accepted: Accepted, kind: str, syntax: str) -> bool:
    """Tells whether a client takes a frame as it is stored.

    Viewers ask for application/octet-stream in any transfer syntax and mean all that a file may hold.
    """
    any_form = accepted.kind == "application/octet-stream" and accepted.syntax == "*"
    return any_form or (fits(kind, accepted.kind) and accepted.syntax in ("", "*", syntax))


# Pictures to look at


def _looking(index: FolderIndex) -> APIRouter:
    router = APIRouter()
    instance_path = "/studies/{study}/series/{series}/instances/{uid}"

    def picture(request: Request, instance: Instance, number: int = 1, largest: int | None = None) -> Response:
        accepted = _accepted(request)
        # Viewers that do not care get the smaller file; what asks for PNG gets every gray value.
        for kind, suffix in (("image/jpeg", ".jpg"), ("image/png", ".png")):
            if any(fits(kind, one.kind) for one in accepted):
                return Response(rendered(instance, number, largest=largest, kind=suffix), media_type=kind)
        raise HTTPException(406, "Pictures are given as image/jpeg and image/png; accept one of them.")

    @router.get(instance_path + "/rendered")
    def rendered_instance(request: Request, study: Uid, series: Uid, uid: Uid) -> Response:
        """Gives the first frame of an instance as a picture."""
        return picture(request, _found(index, study, series, uid)[0])

    @router.get(instance_path + "/frames/{number}/rendered")
    def rendered_frame(request: Request, study: Uid, series: Uid, uid: Uid, number: FrameNumber) -> Response:
        """Gives a frame as a picture."""
        return picture(request, _found(index, study, series, uid)[0], number)

    @router.get(instance_path + "/thumbnail")
    def instance_thumbnail(request: Request, study: Uid, series: Uid, uid: Uid) -> Response:
        """Gives a small picture of an instance."""
        return picture(request, _found(index, study, series, uid)[0], largest=_THUMBNAIL)

    @router.get("/studies/{study}/series/{series}/thumbnail")
    def series_thumbnail(request: Request, study: Uid, series: Uid) -> Response:
        """Gives a small picture of the middle of a series."""
        instances = _found(index, study, series)
        return picture(request, instances[len(instances) // 2], largest=_THUMBNAIL)

    return router


# Storing (STOW-RS)


def _storing(folder: StoredFolder, largest: int, after: AfterStoring | None) -> APIRouter:
    router = APIRouter()

    async def answer(request: Request, study: str | None) -> Response:
        body = await _body(request, largest)
        return await run_in_threadpool(_store, request, folder, body, study, after)

    @router.post("/studies")
    async def store(request: Request) -> Response:
        """Stores objects."""
        return await answer(request, None)

    @router.post("/studies/{study}")
    async def store_in_study(request: Request, study: Uid) -> Response:
        """Stores objects of one study."""
        return await answer(request, study)

    return router


async def _body(request: Request, largest: int) -> bytes:
    too_large = HTTPException(413, f"The request is larger than {largest // 2**20} MiB; send fewer objects at once.")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > largest:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise too_large
    return bytes(body)


def _store(
    request: Request, folder: StoredFolder, body: bytes, study: str | None, after: AfterStoring | None
) -> Response:
    objects = dicom_objects_in(request.headers.get("content-type", ""), body)
    if objects is None:
        raise HTTPException(415, f"Objects are stored as multipart/related with parts of {_DICOM}; send them so.")
    objects = [repaired_segmentation(one) for one in objects]
    outcomes = folder.store(objects, study=study)
    failures = [one for one in outcomes if one.stored is None]
    status = 200 if not failures else 202 if len(failures) < len(outcomes) else 409
    if status == 409 and all(one.reason == NOT_UNDERSTOOD for one in failures):
        status = 400
    remarks = [one.sentence for one in failures[:1]]
    if after is not None:
        taken = [after(data, request) for data, one in zip(objects, outcomes, strict=True) if one.stored]
        remarks += [sentence for sentence in taken if sentence]
    warning = {"Warning": f'299 breastkit "{remarks[0]}"'} if remarks else None
    return JSONResponse(_told(request, outcomes, study), status, headers=warning, media_type=_JSON)


def _told(request: Request, outcomes: list[Outcome], study: str | None) -> dict[str, Any]:
    """Returns what became of the objects as the attributes of PS3.18, table I.2-1."""
    studies = {one.stored.study for one in outcomes if one.stored} or ({study} if study else set())
    answer: dict[str, Any] = {}
    if len(studies) == 1:
        answer["00081190"] = {"vr": "UR", "Value": [_address(request, tuple(studies))]}
    failed, stored = [], []
    for one in outcomes:
        item: dict[str, Any] = {"00081150": {"vr": "UI"}, "00081155": {"vr": "UI"}}
        if one.uid:
            item = {"00081150": {"vr": "UI", "Value": [one.sop_class]}, "00081155": {"vr": "UI", "Value": [one.uid]}}
        if one.stored is None:
            failed.append({**item, "00081197": {"vr": "US", "Value": [one.reason]}})
        else:
            key = (one.stored.study, one.stored.series, one.stored.uid)
            stored.append({**item, "00081190": {"vr": "UR", "Value": [_address(request, key)]}})
    if failed:
        answer["00081198"] = {"vr": "SQ", "Value": failed}
    if stored:
        answer["00081199"] = {"vr": "SQ", "Value": stored}
    return answer
