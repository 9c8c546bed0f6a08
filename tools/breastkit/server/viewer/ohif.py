"""OHIF as npm has it, served with a configuration of ours and the extension in ``annotation``.

The set-up puts the built viewer into the environment (``tools/fetch_viewer.py``). Its files are served as they are but
for one thing: the address below which they lie, which the build takes for ``/``.
"""

from __future__ import annotations

import json
import mimetypes
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from breastkit.report.page import render
from breastkit.server.security.access import root_of

NO_VIEWER = (
    "The viewer is not installed here: let npm reach a registry, run 'python tools/fetch_viewer.py' with the Python of "
    "the project, and start the server again."
)
_PUBLISHED_AT, _EXTENSION_AT = "/ohif/", "annotation/"
_EXTENSION = Path(__file__).parent / "annotation"
# How the files of the build that load others say where these lie.
_ADDRESSES_OF_BUILD = {".js": '__webpack_require__.p = "/"', ".css": "url(/"}
# Of OHIF's own modes only the plain viewer and the one for segmentations are for images like these.
_HIDDEN_MODES = (
    "@ohif/mode-tmtv",
    "@ohif/mode-microscopy",
    "@ohif/mode-preclinical-4d",
    "@ohif/mode-ultrasound-pleura-bline",
    "@ohif/mode-basic-dev-mode",
    "@ohif/mode-test",
)


def viewer_folder() -> Path:
    """Returns where the set-up puts the viewer."""
    return Path(sys.prefix) / "share" / "ohif"


def has_viewer() -> bool:
    """Returns whether the viewer is there."""
    return (viewer_folder() / "index.html").is_file()


def placed(path: Path, root: str) -> bytes:
    """Returns a file of the build that loads others, as it is below our address.

    Args:
        path: of the build.
        root: the path under which the server is reached, empty or as ``/prefix``.
    """
    text, before = path.read_text(encoding="utf-8"), _ADDRESSES_OF_BUILD[path.suffix]
    return text.replace(before, before.replace("/", f"{root}{_PUBLISHED_AT}")).encode()


def config(root: str) -> str:
    """Returns the viewer's configuration: our extension and mode, and one source of data, this server."""
    extension, address = f"{root}{_PUBLISHED_AT}{_EXTENSION_AT}", f"{root}/dicom-web"
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
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "singlepart": "bulkdata,video,pdf",
            # One mask a segment, uncompressed, which everything reads; by default it stores the newer label maps.
            "segmentation": {"store": {"defaultMode": "bitmap", "transferSyntaxUID": "1.2.840.10008.1.2.1"}},
        },
    }
    settings: dict[str, Any] = {
        "routerBasename": f"{root}{_PUBLISHED_AT}",
        "extensions": [f"{extension}extension.js"],
        "modes": [f"{extension}mode.js"],
        "modesConfiguration": {name: {"hide": {"$set": True}} for name in _HIDDEN_MODES},
        "customizationService": [{"ohif.tours": {"$set": []}}],
        "showStudyList": True,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "groupEnabledModesFirst": True,
        "maxNumberOfWebWorkers": 3,
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": "dicomweb",
        "dataSources": [source],
    }
    return f"window.config = {json.dumps(settings, indent=2)};\n"


def viewing() -> APIRouter:
    """Returns the endpoint of the viewer, which says what to do where there is none."""
    router, folder = APIRouter(), viewer_folder()
    # A request is looked up among the files there are; whatever else is asked for is a page of the viewer itself.
    files = _files_below(folder) if has_viewer() else {}
    extension = {f"{_EXTENSION_AT}{name}": path for name, path in _files_below(_EXTENSION).items()}
    bundles = lru_cache(maxsize=16)(placed)
    loading = {name for name, path in files.items() if _loads_others(path)}
    names = {"script": _only(files, "app.bundle.*.js"), "style": _only(files, "app.bundle.css")} if files else {}

    @router.get("/ohif", include_in_schema=False)
    @router.get("/ohif/{path:path}", include_in_schema=False)
    def file(request: Request, path: str = "") -> Response:
        """Gives a file of the viewer."""
        root, fresh = root_of(request.scope), {"Cache-Control": "no-cache"}
        if not files:
            raise HTTPException(404, NO_VIEWER)
        if path == "app-config.js":
            return Response(config(root), media_type="text/javascript", headers=fresh)
        if path in extension:
            return FileResponse(extension[path], media_type=_media_type(path), headers=fresh)
        if path in loading:
            return Response(bundles(files[path], root), media_type=_media_type(path))
        if path in files and path != "index.html":
            return FileResponse(files[path], media_type=_media_type(path))
        return HTMLResponse(render("viewer.html", base=f"{root}{_PUBLISHED_AT}", **names), headers=fresh)

    return router


def _files_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _only(files: dict[str, Path], pattern: str) -> str:
    (name,) = (name for name, path in files.items() if path.match(pattern))
    return name


def _loads_others(path: Path) -> bool:
    before = _ADDRESSES_OF_BUILD.get(path.suffix)
    return before is not None and before in path.read_text(encoding="utf-8")


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
