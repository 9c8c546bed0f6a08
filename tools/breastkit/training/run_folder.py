"""The life of a run's output folder: started, continued, finished."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from breastkit.atomic import make_folder, remove_leftovers, write_json
from breastkit.bundle import is_yes
from breastkit.cases import case_list_path, read_cases
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.training.checkpoint import FILE_NAME as CHECKPOINT
from breastkit.training.distributed import is_main

FILE_NAME = "run.json"
# What a run writes; only these are removed when it starts over, whatever else lies in the folder.
PRODUCTS = (
    *("checkpoint.pt", "model.pt", "model.json", "metrics.csv", "curves.png", "thresholds.csv", "thresholds.png"),
    "opinions.npz",
)
logger = get_logger(__name__)


def git_revision() -> str:
    """Returns the commit this package's sources are at, with ``-dirty`` when they were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def case_list_hash(dataset_dir: str | Path, *lists: Sequence[Mapping[str, Any]]) -> str:
    """Returns the hash of the case list that items come from, or of the items where they come from elsewhere.

    Args:
        dataset_dir: the prepared folder.
        lists: the items in use; MONAI Label gives its own.
    """
    if case_list_path(dataset_dir).is_file():
        cases = read_cases(dataset_dir, check=False)
        listed = [item["image"] for _, item in cases.items()]
        if all(item["image"] in listed for items in lists for item in items):
            return cases.hash
    names = [[Path(str(item["image"])).name for item in items] for items in lists]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def refuse_unfinished(run: str | Path) -> None:
    """Makes sure that a folder holds a finished run.

    Raises:
        BreastkitError: if not.
    """
    state = Path(run) / FILE_NAME
    if not state.is_file() or json.loads(state.read_text(encoding="utf-8")).get("state") != "finished":
        raise BreastkitError(f"{run} holds no finished run; finish it with its train command first.")


class RunFolder:
    """A run's output folder; ``run.json`` in it says what the run is and how far it has come.

    Args:
        path: the folder.
        resume: False starts over where a run has been.
        settings: what the run was told that decides its weights. None of it may change when the run goes on: a mixture
            of two batch sizes, or a learning rate laid out for fewer epochs, would be neither the old run nor the new.
    """

    def __init__(self, path: str | Path, *, resume: bool | str = True, settings: Mapping[str, Any]):
        self.path, self.resume, self.settings = Path(path), is_yes(resume), dict(settings)
        self._listeners: list[Callable[[], None]] = []

    @property
    def facts(self) -> dict[str, Any]:
        """What the ``model.json`` of every run says of it."""
        names = ("architecture", "image_size", "case_list_hash", "seed", "fold")
        return {"run": self.path.name, **{name: self.settings[name] for name in names if name in self.settings}}

    def when_finished(self, listener: Callable[[], None]) -> None:
        """Has a function called when the run is finished, after everything else."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Starts the run or goes on with it, and says so.

        Raises:
            BreastkitError: if the run is finished, or was started with other settings.
        """
        run = self._read() if self.resume else None
        if run is not None and run["state"] != "finished" and not (self.path / CHECKPOINT).is_file():
            # It ended before its first epoch, by a mistyped option perhaps, which must not bind the corrected command.
            run = None
        if run is not None:
            self._check(run)
        # No process may change the folder before all have looked at it.
        idist.barrier()
        if is_main():
            remove_leftovers(make_folder(self.path))
            if run is None:
                for name in PRODUCTS:
                    (self.path / name).unlink(missing_ok=True)
            logger.info("%s in %s.", "Starting a run" if run is None else "Going on with the run", self.path)
            started = _now() if run is None else run["started"]
            write_json(self.path / FILE_NAME, _begun(started, self.settings))
        idist.barrier()

    def finish(self) -> None:
        """Marks the run as finished."""
        if is_main():
            run = self._read() or {}
            write_json(self.path / FILE_NAME, {**run, "state": "finished", "finished": _now()})
            logger.info("Finished the run in %s.", self.path)
            for listener in self._listeners:
                listener()

    def _read(self) -> dict[str, Any] | None:
        path = self.path / FILE_NAME
        if not path.is_file():
            return None
        try:
            run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise BreastkitError(f"{path} is no JSON ({error}); start over with --resume false.") from error
        return run

    def _check(self, run: Mapping[str, Any]) -> None:
        if run["state"] == "finished":
            raise BreastkitError(
                f"{self.path} holds a finished run; start over with --resume false, or give another --output_dir."
            )
        # As JSON gives them back: tuples are lists there.
        old, new = run["settings"], json.loads(json.dumps(self.settings))
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if changed:
            differences = " and ".join(f"{name} {old.get(name)}, not {new.get(name)}" for name in changed)
            raise BreastkitError(
                f"{self.path} holds an unfinished run with {differences}; continue it with that, start over with "
                "--resume false, or give another --output_dir."
            )


def _begun(started: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"state": "running", "started": started, "code": git_revision(), "settings": dict(settings)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
