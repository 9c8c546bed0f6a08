"""``breastkit serve``: the annotation server over a place with studies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from starlette.types import ASGIApp

from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.server.companions import Companion, mlflow_interface, ultrasound_page
from breastkit.server.labels.consensus import Method
from breastkit.server.labels.readings import ASSIGNED_HOURS, ReadingOptions
from breastkit.server.monailabel_fixes import prepare
from breastkit.server.security.access import is_loopback
from breastkit.server.security.free_port import refuse_taken_port
from breastkit.server.security.root_path import check_root_path
from breastkit.server.studies.study_images import refuse_missing_studies

_log = get_logger(__name__)


def app_folder() -> Path:
    """Returns the folder of the MONAI Label app, beside this package's sources."""
    return Path(__file__).resolve().parents[3] / "apps" / "breast_monailabel"


def serve_studies(
    studies: str,
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    labels: str | None = None,
    models: str | None = None,
    users: str | None = None,
    user_header: str | None = None,
    trusted_proxy: str | None = None,
    root_path: str | None = None,
    origins: str = "",
    pages: str | None = None,
    confirm_promotions: bool = False,
    read_only: bool = False,
    no_models: bool = False,
    mlflow: str | None = None,
    ultrasound: bool = False,
    calibration: str | None = None,
    double: float = 0.0,
    consensus: Literal["majority", "staple"] = "majority",
    assigned_hours: float = ASSIGNED_HOURS,
) -> None:
    """Serves studies to OHIF, 3D Slicer and scripts, with the bundles behind, until Ctrl-C.

    Args:
        studies: a folder of NIfTI, of pictures or of DICOM, or a DICOMweb address.
        port: to listen on.
        host: the address to listen on; another than this machine's own needs `users`.
        labels: where labels are kept; by default the folder labels in studies, and work/labels for an address.
        models: where weights are kept that were trained on labels and promoted; what BREASTKIT_MODELS names, else
            work/models, by default.
        users: a file with users, from 'breastkit users set'; everybody logs in then.
        user_header: header in which a reverse proxy names the user who logged in there, as X-Forwarded-User.
        trusted_proxy: address of that proxy, as 127.0.0.1; from elsewhere the header says nothing.
        root_path: where a reverse proxy shows the server, as /breast.
        origins: addresses of other sites whose pages may ask, with commas between.
        pages: a folder of pages to show too, under /results/.
        confirm_promotions: an administrator has to confirm what a training has made before it is used.
        read_only: look and run models only, as where another server writes to the same labels.
        no_models: for annotating and reviewing alone: no network is loaded, and the server is there at once.
        mlflow: SQLite file of tracked runs, such as runs/mlruns.db; MLflow's interface is started beside.
        ultrasound: start the page that reads ultrasound pictures beside, as 'breastkit page' does.
        calibration: what 'breastkit calibrate us' fitted to ultrasound pictures of your own, for the weights in use.
        double: share of the images that two annotators read, each without seeing the other's label; needs `users`.
        consensus: how the labels of several annotators become one.
        assigned_hours: for which an image that was handed to an annotator is not handed to another.

    Raises:
        BreastkitError: if there are no studies, the port is taken, or others could reach a server without users.
    """
    if not is_loopback(host) and users is None:
        raise BreastkitError(f"{host} can be reached by others; give --users, a file from 'breastkit users set'.")
    if (user_header or trusted_proxy) and not (user_header and trusted_proxy and users):
        raise BreastkitError("--user-header needs --trusted-proxy, the proxy's address, and --users; give all three.")
    ReadingOptions(Method(consensus), double=double, hours=assigned_hours)
    if double and not users:
        raise BreastkitError(
            "--double needs --users, by whom labels are told apart; give a file from 'breastkit users set'."
        )
    if root_path:
        check_root_path(root_path)
    refuse_taken_port(host, port)
    # Asked before MONAI Label is loaded, which takes a while.
    refuse_missing_studies(studies)
    if calibration:
        from breastkit.inference.calibration import read_calibration

        read_calibration(calibration)
    conf = {"labels": labels, "models": models, "users": users, "origins": origins, "pages": pages}
    conf |= {"confirm_promotions": "yes" if confirm_promotions else None, "read_only": "yes" if read_only else None}
    conf |= {"no_models": "yes" if no_models else None}
    conf |= {"user_header": user_header, "trusted_proxy": trusted_proxy, "root_path": root_path}
    conf |= {"calibration": calibration, "consensus": consensus}
    conf |= {"double": str(double), "assigned_hours": str(assigned_hours)}
    asked = {
        "mlflow": mlflow_interface(mlflow) if mlflow else None,
        "page": ultrasound_page(calibration) if ultrasound else None,
    }
    end_blocks_on_sigterm()
    with ExitStack() as stack:
        beside = {name: stack.enter_context(one) for name, one in asked.items() if one is not None}
        conf |= {name: companion.address for name, companion in beside.items()}
        given = {name: value for name, value in conf.items() if value}
        _serve(_application(studies, port, given), host, port, list(beside.values()))


def _application(studies: str, port: int, conf: dict[str, str]) -> ASGIApp:
    if "no_models" in conf:
        from breastkit.server.application import application_for_uvicorn
        from breastkit.server.services import open_services

        return application_for_uvicorn(open_services(studies, conf))
    _settle(studies, port, conf)
    _log.info("Loading MONAI Label and the bundles.")
    from breastkit.server.app import app

    return app


def _serve(app: ASGIApp, host: str, port: int, beside: Sequence[Companion]) -> None:
    import uvicorn

    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    failures: list[BreastkitError] = []
    address = f"http://{host}:{port}/"
    told = threading.Thread(target=_tell_when_ready, args=(server, address, beside, failures), daemon=True)
    told.start()
    server.run()
    if failures:
        raise failures[0]


def end_blocks_on_sigterm() -> None:
    """Has SIGTERM leave every `with` block, as Ctrl-C does: uvicorn stops, and then sends itself what it was sent."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def _tell_when_ready(server: Any, address: str, beside: Sequence[Companion], failures: list[BreastkitError]) -> None:
    while not server.started and not server.should_exit:
        time.sleep(0.05)
    try:
        for companion in beside:
            companion.wait()
    except BreastkitError as error:
        failures.append(error)
        server.should_exit = True
    if not server.should_exit:
        sys.stdout.write(f"Ready: {address}\n")
        sys.stdout.flush()


def _settle(studies: str, port: int, conf: dict[str, str]) -> None:
    """Puts the options where MONAI Label's own command puts them."""
    prepare()
    os.environ["MONAI_LABEL_APP_DIR"] = str(app_folder())
    from monailabel.config import settings

    settings.MONAI_LABEL_APP_DIR = str(app_folder())
    settings.MONAI_LABEL_STUDIES = studies if "://" in studies else str(Path(studies).resolve())
    settings.MONAI_LABEL_SERVER_PORT = port
    settings.MONAI_LABEL_APP_CONF = conf
