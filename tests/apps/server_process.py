"""Commands that serve, in a process of their own."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]
_PATIENCE = 240
# Below those that the system gives to whoever asks for any, and to this machine's own side of a connection.
_PORTS = range(20_000, 32_000)


def free_port():
    """Returns a port that is still free when the server that is told of it listens, seconds or minutes later.

    Tests that run beside these in other processes draw from other ports.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    # Not by the seed that tests set, which would draw the same one again.
    for port in random.SystemRandom().sample(own, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@contextmanager
def command(words, port, *, log):
    """Yields the address of a command's server as soon as it answers, and ends it as Ctrl-C does."""
    address = f"http://127.0.0.1:{port}"
    scripts = Path(sys.executable).parent
    with log.open("w") as output:
        process = subprocess.Popen(
            [scripts / words[0], *words[1:]],
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            # MONAI Label's script starts the `python` it finds.
            env={**os.environ, "PATH": os.pathsep.join([str(scripts), os.environ["PATH"]])},
        )
    try:
        _wait_for(address, process, log)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE)


def wait_for_line(line, log):
    """Waits until a command has written a line, which may be a moment after its server answers."""
    end = time.monotonic() + _PATIENCE
    while line + "\n" not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def _wait_for(address, process, log):
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{address}/auth/", timeout=5).status_code == 200:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(log.read_text())
