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

    from breastkit.server.application import application_for_uvicorn
    from breastkit.server.services import Services

    services: Services = app_instance().services
    return application_for_uvicorn(services)


try:
    app = _build()
except BreastkitError as error:
    # Nothing is served yet: the sentence is what the user needs.
    sys.exit(str(error))
