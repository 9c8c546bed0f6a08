"""The server for ``monailabel start_server … --uvicorn_app breastkit.server.app:app``.

That command has put its options into MONAI Label's settings before it imports this module.
"""

from __future__ import annotations

import sys

from starlette.types import ASGIApp

from breastkit.errors import BreastkitError
from breastkit.server.monailabel_fixes import prepare


def _build() -> ASGIApp:
    prepare()
    from monailabel.interfaces.utils.app import app_instance

    from breastkit.server.application import build_application
    from breastkit.server.security.audit import keep_names_out_of_logs
    from breastkit.server.security.connection_times import time_connections
    from breastkit.server.security.trusted_proxy import believe_connections_alone
    from breastkit.server.services import Services

    keep_names_out_of_logs()
    time_connections()
    believe_connections_alone()
    services: Services = app_instance().services
    return build_application(services)


try:
    app = _build()
except BreastkitError as error:
    # Nothing is served yet: the sentence is what the user needs.
    sys.exit(str(error))
