"""What a run read, did and wrote, for machines: ``run.json`` in its folder.

The same input gives the same record, apart from ``started``, ``seconds`` and ``peak_memory_mb``, and from the sizes and
hashes of reports, which tell the day they were made on.
"""

from __future__ import annotations

import hashlib
import json
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from breastkit.atomic import write_json
from breastkit.dicom import Series, is_dicom
from breastkit.dicom.instances import instance_hashes
from breastkit.findings.findings_json import model_record
from breastkit.findings.study_findings import Model

RUN_RECORD = "run.json"
FORMAT = "breastkit run 1"
# What the results may depend on.
_PACKAGES = ("breastkit", "torch", "monai", "numpy", "opencv-python-headless", "pydicom", "highdicom")


class RunRecord:
    """Gathers what is to be told of a run while it goes on.

    Args:
        command: what was run.
        settings: its options, by name.
    """

    def __init__(self, command: str, settings: Mapping[str, Any]) -> None:
        self._command, self._settings = command, dict(settings)
        self._started, self._start = datetime.now(UTC), time.perf_counter()
        self._steps: dict[str, dict[str, float]] = {}
        self._inputs: list[dict[str, Any]] = []
        self._skipped: list[dict[str, str]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures a step; one that comes again adds to the one before."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = self._steps.get(name, {"seconds": 0.0})["seconds"] + time.perf_counter() - start
            self._steps[name] = {"seconds": seconds, "peak_memory_mb": _peak_memory_mb()}

    def read(self, sources: Iterable[Path | Series], skipped: Sequence[tuple[Path, str]]) -> None:
        """Keeps which files the input consists of, with their hashes, and what was left aside."""
        self._inputs = [_input(source) for source in sources]
        self._skipped = [{"name": path.name, "reason": reason} for path, reason in skipped]

    def write(
        self,
        folder: Path,
        *,
        models: Sequence[Model],
        doubts: Sequence[str],
        written: Iterable[Path],
        problems: Sequence[str] = (),
        pushed: Mapping[str, Any] | None = None,
    ) -> Path:
        """Writes the record.

        Args:
            folder: of the run.
            models: the weights that took part.
            doubts: sentences on what may be wrong with what was found.
            written: the files of the run; those in the folder are told.
            problems: sentences on inputs that could not be used.
            pushed: what an archive made of the objects that were sent to it.
        """
        steps = [
            {"name": name, **{key: round(value, 2) for key, value in figures.items()}}
            for name, figures in self._steps.items()
        ]
        record = {
            "format": FORMAT,
            "command": self._command,
            "settings": self._settings,
            "inputs": self._inputs,
            "skipped": self._skipped,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
            "models": [model_record(model) for model in models],
            "doubts": list(doubts),
            "problems": list(problems),
            "steps": steps,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 2),
            "written": [
                _output(path, folder) for path in sorted(written) if path.is_file() and path.is_relative_to(folder)
            ],
            "pushed": None if pushed is None else dict(pushed),
        }
        return write_json(folder / RUN_RECORD, record)


def read_run_record(folder: Path) -> dict[str, Any]:
    """Returns the record of a run, empty where there is none."""
    path = folder / RUN_RECORD
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return record


def _input(source: Path | Series) -> dict[str, Any]:
    if isinstance(source, Series):
        described = {"series": source.uid, "description": source.description, "folder": source.files[0].parent.name}
        return {**described, "instances": instance_hashes(source.files)}
    try:
        if is_dicom(source):
            return {"file": source.name, "instances": instance_hashes([source])}
        return {"file": source.name, "sha256": _sha256(source)}
    except OSError:
        # Reading it for the run gives the sentence.
        return {"file": source.name, "sha256": None}


def _output(path: Path, folder: Path) -> dict[str, Any]:
    return {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _peak_memory_mb() -> float:
    """Returns the most that this process has needed so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
