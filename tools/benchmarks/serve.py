"""The annotation server as its clients see it: seconds until the first mask of a picture and of an MRI study."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import requests

from benchmarks.measured import Measured
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError
from breastkit.phantoms.mri.case import make_mri_phantom
from breastkit.phantoms.us.pictures import make_us_phantom

PICTURE = (448, 560)
SCAN = (448, 448, 160)
# What is asked of a picture, and of a phase of a study; a model's first answer waits until it is loaded.
OF_PICTURE = ("breast_us_lesion_segmentation", "breast_us_lesion_classification")
OF_STUDY = ("breast_mri_tissue_segmentation", "breast_mri_lesion_detection", "breast_mri_lesions")
_TIMES = 3


def main() -> Measured:
    """Runs the benchmark."""
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"serve: a DICOM picture of {PICTURE[0]}x{PICTURE[1]} and two DICOM phases of {'x'.join(map(str, SCAN))}, "
        f"{cores} cores, load {os.getloadavg()[0]:.1f} at the start; seconds from request to answer, the first time "
        f"(the model is loaded), then the median of {_TIMES}, and of that the server's seconds of CPU"
    ]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="breastkit-bench-") as folder:
        write_studies(Path(folder, "studies"))
        with started(Path(folder, "studies"), models=Path(folder, "models")) as (address, pid):
            for modality, models in (("US", OF_PICTURE), ("MR", OF_STUDY)):
                image = image_of(address, modality)
                for model in models:
                    first, *later = (seconds_for(address, model, image, pid=pid) for _ in range(1 + _TIMES))
                    then, cpu = (median(values) for values in zip(*later, strict=True))
                    figures[model] = {"first_s": first[0], "then_s": then, "cpu_s": cpu}
                    lines.append(f"{model}: {first[0]:.2f} first, {then:.2f} then, {cpu:.2f} of CPU")
    return Measured(figures, tuple(lines))


def write_studies(place: Path, *, picture: tuple[int, int] = PICTURE, scan: tuple[int, int, int] = SCAN) -> None:
    """Writes an ultrasound picture and a study of two phases as DICOM.

    Args:
        place: the folder to write.
        picture: rows and columns.
        scan: columns, rows and slices, even; the phantom is made at half that and every voxel repeated.
    """
    phantom = make_us_phantom(7, 1, size=picture, label="malignant")
    write_us_dicom(place / "us.dcm", phantom.image, spacing=phantom.spacing, patient="US", uid_seed="bench serve")
    half = tuple(size // 2 for size in scan)
    study = MrStudy(patient_id="MR", uid_source="bench serve")
    mri = make_mri_phantom(1, 1, shape=half, phases=2, orientation="LPS", lesions=2)
    affine = mri.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
    for number, (name, volume) in enumerate(zip(("pre", "post 1"), mri.phases, strict=True), start=1):
        volume = volume.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        write_mr_series(
            place / name,
            volume,
            affine,
            study,
            number=number,
            description=f"ax dyn {name}",
            start_s=90.0 * number,
            contrast=number > 1,
        )


@contextmanager
def started(studies: Path, *, models: Path) -> Iterator[tuple[str, int]]:
    """Yields address and process of a server that runs until the block ends.

    Args:
        studies: what it serves.
        models: where promoted weights are kept.

    Raises:
        BreastkitError: if it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["serve", f"--studies={studies}", f"--port={port}", f"--models={models}"]
    command = [sys.executable, "-m", "breastkit.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if not any(line.startswith("Ready: ") for line in process.stdout or ()):
            raise BreastkitError(f"The annotation server did not start; try 'breastkit {' '.join(words[:2])}'.")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def image_of(address: str, modality: str) -> str:
    """Returns the last image of a modality in the server's list; of a study any phase will do."""
    images = requests.get(f"{address}/datastore/?output=all", timeout=600).json()["objects"]
    return [name for name, one in images.items() if one["image"]["info"]["Modality"] == modality][-1]


def seconds_for(address: str, model: str, image: str, *, pid: int) -> tuple[float, float]:
    """Returns how long a client waits for a model's answer, and how much the server computes meanwhile.

    On a machine that does other things too, the second says more; all cores together may be done sooner than that.

    Args:
        address: of the server.
        model: which one.
        image: of the store.
        pid: of the server's process.

    Raises:
        BreastkitError: if the answer is no mask.
    """
    start, computed = time.perf_counter(), _cpu_seconds(pid)
    answer = requests.post(f"{address}/infer/{model}?image={image}", data={"params": "{}"}, timeout=1800)
    seconds = time.perf_counter() - start
    if answer.status_code != 200:
        raise BreastkitError(f"{model} answered {answer.status_code}: {answer.text[:200]}")
    return seconds, _cpu_seconds(pid) - computed


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
