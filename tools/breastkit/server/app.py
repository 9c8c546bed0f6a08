"""The server for ``monailabel start_server … --uvicorn_app breastkit.server.app:app``.

That command has put its options into MONAI Label's settings before it imports this module.
"""

from __future__ import annotations

import sys
from typing import Any

from breastkit.errors import BreastkitError
from breastkit.server.monailabel_fixes import prepare


def _build() -> Any:
    prepare()
    from monailabel.config import settings
    from monailabel.interfaces.utils.app import app_instance

    from breastkit.server.application import build_application
    from breastkit.server.security.audit import keep_names_out_of_logs
    from breastkit.server.security.connection_times import time_connections
    from breastkit.server.security.trusted_proxy import proxy_of
    from breastkit.server.security.users import Users

    keep_names_out_of_logs()
    time_connections()
    conf = settings.MONAI_LABEL_APP_CONF
    users = Users(conf["users"]) if conf.get("users") else None
    origins = [one for one in str(conf.get("origins", "")).split(",") if one]
    return build_application(
        app_instance(),
        users=users,
        origins=origins,
        pages=conf.get("pages"),
        proxy=proxy_of(conf),
        root_path=conf.get("root_path", ""),
    )


try:
    app = _build()
except BreastkitError as error:
    # Nothing is served yet: the sentence is what the user needs.
    sys.exit(str(error))
