"""A DICOMweb store in a process of its own, for tests that talk to it as clients do."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

_PROGRAM = """
import socket, sys, uvicorn
from breastkit.dicomweb.store import dicom_store_app
app = dicom_store_app(sys.argv[1], stored=sys.argv[2], largest_upload=int(sys.argv[3]), refresh_seconds=0)
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
"""


@contextmanager
def store_process(folder, stored, *, largest_upload=2**20, errors=None):
    """Yields the address of a store that runs until the block ends."""
    command = [sys.executable, "-c", _PROGRAM, str(folder), str(stored), str(largest_upload)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(120)
        process.stdout.close()
