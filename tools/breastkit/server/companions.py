"""Servers beside the annotation server, started and stopped with it and reached from its start page."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from breastkit.errors import BreastkitError

_LONGEST_S = 300
_GRACE_S = 20
# Loaded before any process is forked: between fork and exec nothing may be.
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Companion:
    """A server of its own on a free port of this machine alone; at the end it and all it started are stopped.

    Args:
        name: what sentences call it.
        module: that Python runs.
        words: its arguments; ``{port}`` stands for the port.
        page: that answers once it is up.
    """

    def __init__(self, name: str, module: str, words: Sequence[str], *, page: str = "") -> None:
        self.name, self.module, self.words, self.page = name, module, words, page
        self.address = ""

    def __enter__(self) -> Self:
        """Starts it; `wait` says when it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/"
        self._said = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *(word.format(port=port) for word in self.words)],
            stdout=self._said,
            stderr=subprocess.STDOUT,
            # MLflow's queue for judging language models is eight processes that nobody asks for here.
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            # Ctrl-C reaches the annotation server alone, which stops this one.
            start_new_session=True,
            preexec_fn=_ends_with_parent if sys.platform == "linux" else None,
        )
        return self

    def wait(self) -> None:
        """Waits until it answers.

        Raises:
            BreastkitError: if it does not start.
        """
        end = time.monotonic() + _LONGEST_S
        while self._process.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(self.address + self.page, timeout=5):
                    return
            except OSError:
                time.sleep(0.3)
        self._said.seek(0)
        last = (self._said.read().strip() or "it said nothing").splitlines()[-1]
        raise BreastkitError(f"{self.name} did not start: {last}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops it."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sent)
                self._process.wait(_GRACE_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.poll()
        self._said.close()


def _ends_with_parent() -> None:
    """Has the kernel end a new process when the annotation server is gone, however it ended."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def mlflow_interface(store: str | Path) -> Companion:
    """Returns MLflow's own interface.

    Args:
        store: the SQLite file of tracked runs, such as ``runs/mlruns.db``.

    Raises:
        BreastkitError: if there is no such file.
    """
    store = Path(store).resolve()
    if not store.is_file():
        raise BreastkitError(f"{store} does not exist; track a run first, or leave out --mlflow.")
    words = ["ui", "--backend-store-uri", f"sqlite:///{store}", "--host", "127.0.0.1", "--port", "{port}"]
    return Companion(f"MLflow's interface over {store}", "mlflow", [*words, "--workers", "1"], page="health")


def ultrasound_page(calibration: str | None = None) -> Companion:
    """Returns the page that reads ultrasound pictures, ``breastkit page``.

    Args:
        calibration: the file of a calibration of the ultrasound chain.
    """
    calibrated = ["--calibration", calibration] if calibration else []
    return Companion("The ultrasound page", "breastkit.cli", ["page", "--port", "{port}", *calibrated])
