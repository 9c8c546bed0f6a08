"""DICOMweb of another server under our own address, query and all, and nothing but DICOMweb."""

from __future__ import annotations

import re

import requests
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from breastkit.dicom.repair_seg import repaired_segmentation
from breastkit.dicomweb.multipart_related import PartsWriter, dicom_objects_in
from breastkit.dicomweb.store import AfterStoring
from breastkit.errors import BreastkitError

# Studies, series, instances and what belongs to them: identifiers, frame numbers and the names of the standard alone.
_PATH = re.compile(
    r"(studies|series|instances)"
    r"|studies/[0-9.]+(/(series|instances|metadata|thumbnail))?"
    r"|studies/[0-9.]+/series/[0-9.]+(/(instances|metadata|thumbnail))?"
    r"|studies/[0-9.]+/series/[0-9.]+/instances/[0-9.]+(/(metadata|rendered|thumbnail|bulkdata))?"
    r"|studies/[0-9.]+/series/[0-9.]+/instances/[0-9.]+/frames/[0-9,]+(/rendered)?"
)
_DICOM = "application/dicom"
_SENT = ("accept", "content-type")
_ANSWERED = ("content-type", "warning")
_SECONDS = 60.0


def forwarding(
    address: str, *, session: requests.Session | None = None, after_storing: AfterStoring | None = None
) -> APIRouter:
    """Returns endpoints that pass DICOMweb requests on.

    Args:
        address: of the other server's DICOMweb.
        session: carries credentials, where it asks for them.
        after_storing: is given every object that the other server took.
    """
    router = APIRouter()
    asking = session or requests.Session()

    @router.api_route("/dicom-web/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def forward(request: Request, path: str) -> Response:
        """Passes a request on."""
        stores = re.fullmatch(r"studies(/[0-9.]+)?", path) is not None
        if not _PATH.fullmatch(path) or ".." in path or (request.method == "POST" and not stores):
            raise HTTPException(404, "That is no address of DICOMweb.")
        body = await request.body()
        headers = {name: request.headers[name] for name in _SENT if name in request.headers}
        objects: list[bytes] = []
        if request.method == "POST":
            objects, headers["content-type"], body = await run_in_threadpool(_repaired, request, body)
        answer = await run_in_threadpool(_ask, asking, address, request, path, headers, body)
        if after_storing is not None and answer.status_code == 200 and objects:
            remark = await run_in_threadpool(_after_each, request, objects, after_storing)
            if remark:
                answer.headers["Warning"] = f'299 breastkit "{remark}"'
        return answer

    return router


def _repaired(request: Request, body: bytes) -> tuple[list[bytes], str, bytes]:
    """Returns the objects of a request that stores some, its media type and its body, with segmentations made whole."""
    kind = request.headers.get("content-type", "")
    try:
        objects = dicom_objects_in(kind, body) or []
    except BreastkitError:
        # Whether that can be stored is for the other server to say.
        return [], kind, body
    repaired = [repaired_segmentation(one) for one in objects]
    if repaired == objects:
        return objects, kind, body
    writer = PartsWriter(_DICOM)
    return repaired, writer.content_type, b"".join(writer.write((_DICOM, one) for one in repaired))


def _after_each(request: Request, objects: list[bytes], after_storing: AfterStoring) -> str:
    return next((remark for remark in [after_storing(data, request) for data in objects] if remark), "")


def _ask(
    session: requests.Session, address: str, request: Request, path: str, headers: dict[str, str], body: bytes
) -> Response:
    url = f"{address.rstrip('/')}/{path}"
    try:
        answer = session.request(
            request.method,
            url,
            params=request.url.query,
            data=body or None,
            headers=headers,
            timeout=_SECONDS,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise HTTPException(503, "The DICOMweb server does not answer.", headers={"Retry-After": "10"}) from error
    passed = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
    # Addresses in results lead to the other server, which the browser may not reach.
    content = answer.content
    if "json" in answer.headers.get("content-type", ""):
        own = f"{str(request.base_url).rstrip('/')}/dicom-web"
        content = content.replace(address.rstrip("/").encode(), own.encode())
    return Response(content, answer.status_code, headers=passed)
