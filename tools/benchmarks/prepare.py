"""`breastkit data prepare duke` at the size of a public set: seconds a slice, and whether memory grows."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from breastkit.cases import read_cases
from breastkit.errors import BreastkitError, UsageError
from breastkit.images import write_nifti
from breastkit.phantoms.mri.case import MriPhantom, make_mri_phantom
from breastkit.progress import available_cores
from breastkit.seeding import generator

# Duke as the published work curated it: 251 patients, 49,236 slices, which are 196 a patient.
SET_PATIENTS, SET_SLICES = 251, 49_236
SCAN = (448, 448, 196)
_DISTINCT = 2
_EVERY_S = 0.5


@dataclass(frozen=True)
class Preparation:
    """What preparing a number of patients took.

    Attributes:
        patients: how many.
        slices: that were written, of all patients together.
        seconds: by the clock.
        cpu_s: of processor time, of all processes.
        peak_mib: the most memory that all processes held at once; what they share counts once.
    """

    patients: int
    slices: int
    seconds: float
    cpu_s: float
    peak_mib: float


def bench_preparation(*, patients: int = 8, workers: int | None = None, seed: int = 0) -> str:
    """Measures 'breastkit data prepare duke' on many patients: seconds a slice, memory with a quarter and all of them.

    Two phantoms are made, two phases of 448x448x196 voxels each (at half that, every voxel repeated, with noise of its
    own), and stand under as many names as patients are asked for. All slices are kept, with their masks.

    Args:
        patients: how many, at least 4.
        workers: processes to work with; all available cores by default.
        seed: of the phantoms.

    Returns:
        What was measured, and what the whole set would take by it.

    Raises:
        UsageError: if there are too few patients.
    """
    if isinstance(patients, bool) or not isinstance(patients, int) or patients < 4:
        raise UsageError(f"{patients} patients are too few; give --patients a whole number from 4 up.")
    with tempfile.TemporaryDirectory(prefix="breastkit-bench-") as name:
        folder = Path(name)
        write_patients(folder / "set", patients, seed=seed)
        quarter, whole = (prepare(folder, count, workers=workers) for count in (patients // 4, patients))
    return _told(quarter, whole, workers or available_cores())


def write_patients(folder: Path, patients: int, *, seed: int = 0, shape: tuple[int, int, int] = SCAN) -> None:
    """Writes phantoms in MAMA-MIA's layout, a few of them under many names.

    Args:
        folder: the folder to write.
        patients: how many names.
        seed: of the phantoms.
        shape: columns, rows and slices, even.
    """
    for number in range(1, patients + 1):
        name = f"DUKE_{number:03d}"
        files = [folder / "images" / name / f"{name.lower()}_{phase:04d}.nii.gz" for phase in range(2)]
        files.append(folder / "segmentations" / "expert" / f"{name.lower()}.nii.gz")
        if number <= _DISTINCT:
            phantom = make_mri_phantom(
                seed, number, shape=tuple(size // 2 for size in shape), phases=2, lesions=2, orientation="LPS"
            )
            _write_files(files, phantom, seed)
            continue
        like = f"DUKE_{(number - 1) % _DISTINCT + 1:03d}"
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            first = Path(str(path).replace(name, like).replace(name.lower(), like.lower()))
            os.link(first, path)


def _write_files(files: list[Path], phantom: MriPhantom, seed: int) -> None:
    affine = phantom.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
    for path, volume in zip(files, (*phantom.phases, (phantom.lesions > 0).astype(np.uint8)), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        large = volume.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        if path.name.endswith(("_0000.nii.gz", "_0001.nii.gz")):
            # Without noise of its own a repeated voxel would be packed, and unpacked, for nothing.
            large = large + generator(seed, path.name).normal(0, 4, large.shape).round().astype(np.int16)
        write_nifti(path, large.astype(volume.dtype), affine)


def prepare(folder: Path, patients: int, *, workers: int | None = None) -> Preparation:
    """Prepares the first so many patients of a set by the command, and watches its processes.

    Args:
        folder: holds the set in ``set``; what is prepared comes beside it.
        patients: how many.
        workers: processes to work with.

    Raises:
        BreastkitError: if the command fails.
    """
    listed, out = folder / f"{patients}.txt", folder / f"prepared {patients}"
    listed.write_text("".join(f"DUKE_{number:03d}\n" for number in range(1, patients + 1)), encoding="utf-8")
    words = ["data", "prepare", "duke", str(folder / "set"), str(out), f"--cases={listed}", "--negatives=1"]
    words += [] if workers is None else [f"--workers={workers}"]
    start = time.perf_counter()
    # A session of its own tells its processes from all others.
    command = [sys.executable, "-m", "breastkit.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        with _watched(process.pid) as used:
            status = process.wait()
    finally:
        process.terminate()
    seconds = time.perf_counter() - start
    if status:
        raise BreastkitError(f"'breastkit {' '.join(words[:3])}' ended with {status}; see above.")
    cases = read_cases(out, check=False)
    slices = sum(len(part) for part in (cases.training, cases.validation, cases.test))
    return Preparation(patients, slices, seconds, sum(used.cpu_s.values()), used.peak_mib)


@dataclass
class _Used:
    """What processes used so far: the most memory at once, and by process its seconds of processor time."""

    peak_mib: float = 0.0
    cpu_s: dict[int, float] = field(default_factory=dict)


@contextmanager
def _watched(session: int) -> Iterator[_Used]:
    """Yields what the processes of a session use, as long as the block runs; looked at twice a second."""
    used, ended = _Used(), threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            now = _processes_of(session)
            used.cpu_s |= now
            used.peak_mib = max(used.peak_mib, sum(map(_memory_mib, now)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield used
    finally:
        ended.set()
        watcher.join()


def _processes_of(session: int) -> dict[int, float]:
    """Returns the processes of a session with their seconds of processor time."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found[int(path.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _memory_mib(pid: int) -> float:
    """Returns what a process holds, what it shares with others in equal parts; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _told(quarter: Preparation, whole: Preparation, workers: int) -> str:
    by_clock, by_cpu = (SET_SLICES * one / whole.slices / 60 for one in (whole.seconds, whole.cpu_s / workers))
    lines = [
        f"prepare: {_DISTINCT} phantoms of {'x'.join(map(str, SCAN))} under {whole.patients} names, {workers} "
        f"processes, load {os.getloadavg()[0]:.1f} at the end"
    ]
    lines += [
        f"  {one.patients} patients, {one.slices} slices: {one.seconds:.0f} seconds, {one.cpu_s:.0f} of processor time "
        f"({1000 * one.cpu_s / one.slices:.0f} ms a slice); all processes together held {one.peak_mib:.0f} MiB at most"
        for one in (quarter, whole)
    ]
    lines.append(
        f"  by that {SET_PATIENTS} patients with {SET_SLICES} slices take {by_clock:.0f} minutes at this load, "
        f"{by_cpu:.0f} where nothing else computes; memory {whole.peak_mib / quarter.peak_mib - 1:+.0%} with "
        f"{whole.patients / quarter.patients:.0f} times the patients"
    )
    return "\n".join(lines)
