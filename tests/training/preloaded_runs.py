"""Starts ``python -m monai.bundle run`` as often as a test wants and pays for its imports once.

Run as a program it reads one call a line and forks: each run has a process group of its own, and its imports are done.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

IMPORTED = (
    "matplotlib.figure",
    "monai.bundle",
    "breastkit.datasets.slices",
    "breastkit.networks",
    "breastkit.training",
    "breastkit.transforms",
)
_A_MOMENT = 0.02


class PreloadedRuns:
    """The program, seen from the test.

    Args:
        environment: of the runs.
        folder: where they work.
    """

    def __init__(self, environment: dict[str, str], folder: Path):
        command = [sys.executable, __file__]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.program = subprocess.Popen(command, env=environment, cwd=folder, **pipes)

    def start(self, words: Sequence[str], log: Path, *, killed_at: tuple[str, int | None] | None = None) -> None:
        """Starts a run.

        Args:
            words: what follows ``monai.bundle run``.
            log: the file for what it says.
            killed_at: as `kill_at_rename` takes it: when the whole process group is killed.
        """
        self.program.stdin.write(json.dumps({"words": list(words), "log": str(log), "killed_at": killed_at}) + "\n")
        self.program.stdin.flush()

    def end(self) -> int:
        """Waits for the run and returns its exit code, negative when a signal ended it."""
        return int(self.program.stdout.readline())

    def close(self) -> None:
        """Ends the program."""
        self.program.kill()
        self.program.communicate()


def kill_at_rename(name: str, number: int | None) -> None:
    """Has this process's group killed right before it renames a file to this name for the so-manieth time.

    Without a number it is killed a moment after the first time, wherever it is then: by a thread of its own, because a
    process that watches it from outside may be late when the machine is busy.
    """
    seen = []

    def watch(event: str, arguments: tuple) -> None:
        if event == "os.rename" and Path(os.fspath(arguments[1])).name == name:
            seen.append(arguments)
            if len(seen) == number:
                os.killpg(0, signal.SIGKILL)
            if number is None and len(seen) == 1:
                threading.Timer(_A_MOMENT, os.killpg, (0, signal.SIGKILL)).start()

    sys.addaudithook(watch)


def serve(act: Callable[[dict[str, Any]], None]) -> None:
    """Forks a process for every line on stdin, which does what the line asks for and may be killed at it."""
    for line in sys.stdin:
        call = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            log = os.open(call["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(log, stream)
            if call["killed_at"]:
                kill_at_rename(*call["killed_at"])
            act(call)
            return
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def run_bundle(call: dict[str, Any]) -> None:
    """Runs a bundle as `python -m monai.bundle run` does."""
    sys.argv = ["monai.bundle", "run", *call["words"]]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    serve(run_bundle)
