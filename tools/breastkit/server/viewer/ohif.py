"""OHIF as MONAI Label's wheel ships it, corrected on its way to the browser.

The files of the wheel stay as they are. What is corrected: the studies come from our DICOMweb address and not through
the wheel's proxy; the MONAI Label mode opens ultrasound too; its panel finds the server it came from, at any port and
under any path, offers the models that read the open image, and has brush, eraser and a button that submits the label;
the export of a segmentation goes to the store in use, with every slice where it was drawn; no font is fetched from the
internet.
"""

from __future__ import annotations

import json
import mimetypes
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from breastkit.errors import BreastkitError
from breastkit.server.security.access import root_of

_TEXTS = (".js", ".html", ".css", ".json")
_PUBLISHED_AT = "/ohif/"


@dataclass(frozen=True)
class Correction:
    """One change of the viewer's sources.

    Attributes:
        files: which files, as a pattern of names.
        before: what stands there.
        after: what is to stand there.
    """

    files: str
    before: str
    after: str


# What is put into the sources calls what stands in viewer.js, beside this module.
_ADDITIONS = Path(__file__).with_suffix(".js")
_THIS_SERVER = "window.breastkit.address()"
CORRECTIONS = (
    Correction(
        "*.bundle.*.js",
        "valid: modalitiesArray.includes('CT') || modalitiesArray.includes('MR'),",
        "valid: ['CT', 'MR', 'US'].some(one => modalitiesArray.includes(one)),",
    ),
    Correction(
        "*.bundle.*.js",
        "CookieUtils.getCookieString('MONAILABEL_SERVER_URL', "
        "'http://' + window.location.host.split(':')[0] + ':8000/')",
        _THIS_SERVER,
    ),
    Correction("*.bundle.*.js", "this.serverURI = 'http://127.0.0.1:8000';", f"this.serverURI = {_THIS_SERVER};"),
    # Its three planes need a volume; a single ultrasound picture is none.
    Correction(
        "*.bundle.*.js", "hangingProtocol: 'mpr',\n    // hangingProtocol: [''],", "hangingProtocol: 'default',"
    ),
    Correction(
        "*.bundle.*.js",
        "const volumeLoadObject = segmentationService.getLabelmapVolume('1');",
        "const volumeLoadObject = window.breastkit.asVolume(ret.header);",
    ),
    Correction(
        "*.bundle.*.js",
        "const ret = SegmentationReader.parseNrrdData(response.data);",
        "if (!(await window.breastkit.takes(this, response))) {\n        return;\n      }\n"
        "      const ret = SegmentationReader.parseNrrdData(response.data);",
    ),
    Correction(
        "*.bundle.*.js",
        "const volumeLoadObject = dist_esm.cache.getVolume('1');",
        "const volumeLoadObject = window.breastkit.hasLabels(this);",
    ),
    Correction(
        "*.bundle.*.js",
        "color: this.segmentColor(label)",
        "color: window.breastkit.colourOf(all_models, label) || this.segmentColor(label)",
    ),
    Correction(
        "*.bundle.*.js",
        "const models = Object.keys(info.data.models).filter(m => info.data.models[m].type === 'segmentation' || "
        "info.data.models[m].type === 'vista3d');",
        "const models = window.breastkit.fitting(info.data.models, this.props.getActiveViewportInfo().displaySet)\n"
        "      .filter(m => info.data.models[m].type === 'segmentation');",
    ),
    # This server's log is nobody's but the administrator's; its page tells what a user may know.
    Correction(
        "*.bundle.*.js",
        '\'logs/?lines=100\',\n      target: "_blank",\n      rel: "noopener noreferrer"\n    }, "Logs")',
        '\'\',\n      target: "_blank",\n      rel: "noopener noreferrer"\n    }, "Start page")',
    ),
    Correction(
        "*.bundle.*.js",
        'isDataReady && /*#__PURE__*/react.createElement("div", {\n      className: "tabs scrollbar",',
        "isDataReady && react.createElement(window.breastkit.LabelTools, { react, panel: this }), "
        'isDataReady && /*#__PURE__*/react.createElement("div", {\n      className: "tabs scrollbar",',
    ),
    Correction(
        "*.bundle.*.js",
        "const segImages = imageIds.map(imageId => esm.cache.getImage(imageId));\n      const referencedImages",
        "const segImages = window.breastkit.asExported(imageIds.map(imageId => esm.cache.getImage(imageId)));\n"
        "      const referencedImages",
    ),
    Correction(
        "*.bundle.*.js",
        "await dataSource.store.dicom(naturalizedReport);",
        "dataSource = dataSource || extensionManager.getActiveDataSource()[0];\n"
        "      await dataSource.store.dicom(naturalizedReport);",
    ),
)
_FONTS = re.compile(
    r'<link rel="preconnect" href="https://fonts[^>]*>|<link href="https://fonts\.googleapis[^>]*>'
    r"|@import url\(https://fonts\.googleapis[^)]*\);"
)


def viewer_folder() -> Path:
    """Returns the folder of the viewer in MONAI Label's wheel.

    Raises:
        BreastkitError: if it is not there.
    """
    wheel = find_spec("monailabel")
    folder = Path(str(wheel.origin if wheel else "monailabel")).parent / "endpoints" / "static" / "ohif"
    if not (folder / "index.html").is_file():
        raise BreastkitError(f"{folder} holds no OHIF; install monailabel 0.8.5 from its wheel again.")
    return folder


def missing_corrections(folder: Path) -> list[Correction]:
    """Returns the corrections whose place is not found in a viewer: it has changed and has to be looked at."""
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.bundle.*.js")]
    return [one for one in CORRECTIONS if not any(one.before in text for text in texts)]


def corrected(path: Path, root: str) -> bytes:
    """Returns a file of the viewer as the browser gets it.

    Args:
        path: of the wheel.
        root: the path under which the server is reached, empty or as ``/prefix``.
    """
    text = path.read_text(encoding="utf-8")
    for one in CORRECTIONS:
        if path.match(one.files):
            text = text.replace(one.before, one.after)
    if path.suffix in (".html", ".css"):
        text = _FONTS.sub("", text)
    if path.suffix == ".html":
        text = text.replace("<head>", f'<head><script src="{_PUBLISHED_AT}breastkit.js"></script>', 1)
    return (text.replace(_PUBLISHED_AT, f"{root}{_PUBLISHED_AT}") if root else text).encode()


def config(root: str) -> str:
    """Returns the viewer's configuration: one source of data, the DICOMweb address of this server."""
    address = f"{root}/dicom-web"
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "dicomweb",
        "configuration": {
            "friendlyName": "Studies of this server",
            "name": "breastkit",
            "wadoUriRoot": address,
            "qidoRoot": address,
            "wadoRoot": address,
            "qidoSupportsIncludeField": True,
            "supportsReject": False,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "singlepart": "bulkdata,video,pdf",
        },
    }
    settings = {
        "routerBasename": f"{root}{_PUBLISHED_AT}",
        "showStudyList": True,
        "extensions": [],
        "modes": [],
        "showWarningMessageForCrossOrigin": True,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "defaultDataSourceName": "dicomweb",
        "useSharedArrayBuffer": "FALSE",
        "investigationalUseDialog": {"option": "never"},
        "dataSources": [source],
    }
    return f"window.config = {json.dumps(settings, indent=2)};\n"


def viewing() -> APIRouter:
    """Returns the endpoint of the viewer.

    Raises:
        BreastkitError: if MONAI Label's wheel lacks it.
    """
    router = APIRouter()
    folder = viewer_folder()
    # A request is looked up among the files there are; whatever else is asked for is a page of the viewer itself.
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    content = lru_cache(maxsize=256)(corrected)

    @router.get("/ohif", include_in_schema=False)
    @router.get("/ohif/{path:path}", include_in_schema=False)
    def file(request: Request, path: str = "") -> Response:
        """Gives a file of the viewer."""
        root = root_of(request.scope)
        headers = {"Cache-Control": "no-cache"}
        if path == "app-config.js":
            return Response(config(root), media_type="text/javascript", headers=headers)
        if path == "breastkit.js":
            return FileResponse(_ADDITIONS, media_type="text/javascript", headers=headers)
        found = files.get(path, files["index.html"])
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        if found.suffix in _TEXTS:
            return Response(content(found, root), media_type=kind, headers=headers)
        return FileResponse(found, media_type=kind)

    return router
