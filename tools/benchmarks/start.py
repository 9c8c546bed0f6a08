"""What commands load before they begin: processor seconds, beside those where MONAI is imported whole."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.measured import Measured
from breastkit.errors import BreastkitError

COMMANDS = ("run us", "run mri", "serve", "data prepare busi", "models list")
ROUNDS = 3
# What the command line does before a verb begins, with the functions it runs through.
_PROGRAM = """
import sys, time
from breastkit.cli import COMMANDS
from breastkit.lazy_imports import import_lazily
from breastkit.usage import find
lazily, *words = sys.argv[1:]
if lazily == "True":
    import_lazily()
find(COMMANDS, words, program="breastkit")[0].function()
print(time.process_time())
"""


def main() -> Measured:
    """Runs the benchmark."""
    figures = {command: measure(command) for command in COMMANDS}
    lines = [f"start: processor seconds until a command begins, median of {ROUNDS} rounds, with MONAI imported whole"]
    lines += [
        f"{command}: {found['seconds']:.2f}, {found['whole_seconds']:.2f} whole, ratio {found['ratio']:.2f}"
        for command, found in figures.items()
    ]
    return Measured(figures, tuple(lines))


def measure(command: str, *, rounds: int = ROUNDS) -> dict[str, float]:
    """Returns the seconds of both ways to begin, which take turns, and their ratio.

    Args:
        command: the words after ``breastkit``.
        rounds: how often each is measured.
    """
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for lazily, seconds in found.items():
            seconds.append(seconds_until(command, lazily=lazily))
    lazy, whole = median(found[True]), median(found[False])
    return {"seconds": lazy, "whole_seconds": whole, "ratio": lazy / whole}


def seconds_until(command: str, *, lazily: bool) -> float:
    """Returns the processor seconds of a new process until a command begins.

    Args:
        command: the words after ``breastkit``.
        lazily: as the command line does it; False imports MONAI whole.

    Raises:
        BreastkitError: if the command cannot be loaded.
    """
    words = [sys.executable, "-c", _PROGRAM, str(lazily), *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BreastkitError(f"'breastkit {command}' does not begin: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])
