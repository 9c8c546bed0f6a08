"""The annotation server on a free port of this machine, in a thread of the test."""

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import uvicorn

from breastkit.server.application import build_application
from breastkit.server.services import open_services


@contextmanager
def served(studies, *, conf=None, **options):
    """Yields address and services of a server that runs until the block ends; ``options`` take the place of some."""
    services = replace(open_services(str(studies), conf or {}), **options)
    with listening(build_application(services)) as address:
        yield address, services


@contextmanager
def listening(application, **options):
    """Yields the address of an application that is served, with options of uvicorn's, until the block ends."""
    # As `breastkit.server.app` has it: the address of a client is that of its connection.
    options.setdefault("proxy_headers", False)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.05)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
