"""The cache of the training loader: memory with 50 scans of 512x512x160, and what an epoch costs with and without."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser

from benchmarks.letterbox import synthetic_volume
from benchmarks.measured import Measured
from breastkit.bundle import bundle_folder
from breastkit.cases import write_cases
from breastkit.images import write_nifti
from breastkit.progress import track

BUNDLE = "breast_mri_tissue_segmentation"
SCAN = (512, 512, 160)
SCANS = 50
# Sides of a slice: of the reference and of the compact architecture.
SIZES = (512, 256)
# Right to left, back to front, feet to head, as in most files.
_AFFINE = np.diag([-0.7, 0.7, 1.0, 1.0])


def write_scans(folder: Path, shape: tuple[int, int, int], count: int) -> None:
    """Writes a data set of scans that differ and take no time to make, one after the other."""
    volume = {key: array[0].numpy() for key, array in synthetic_volume(shape).items()}
    items = []
    for number in track(range(count), "Writing scans", unit="scan"):
        item = {"case": str(number), "fold": 0}
        for key, kind in (("image", np.int16), ("label", np.uint8)):
            moved = np.roll(volume[key], 2 * number, axis=2).astype(kind)
            item[key] = str(write_nifti(folder / f"{key}_{number}.nii", moved, _AFFINE))
        items.append(item)
    write_cases(folder, {"training": items[1:], "validation": items[:1]}, facts={"name": "synthetic"})


def one_start(folder: str, size: int) -> dict[str, float]:
    """Opens the bundle's training slices and goes through all of them once, as a run does when it starts.

    Augmentation is left out: it is the same with and without cache.

    Returns:
        Seconds of processor time of opening and of the epoch, the share of scans that lay in the cache, and the peak
        memory of the process.
    """
    parser = ConfigParser()
    parser.read_config(Path(bundle_folder(BUNDLE)) / "configs" / "train.json")
    parser.update({"dataset_dir": folder, "image_size": size, "train#dataset#transform": None})
    cache = Path(parser.get_parsed_content("cache_dir"))
    started, begun = time.time(), time.process_time()
    loaders = [parser.get_parsed_content(f"{part}#dataloader") for part in ("train", "validate")]
    opened = time.process_time()
    for loader in loaders:
        for _ in track(loader, "Epoch", unit="batch"):
            pass
    ended = time.process_time()
    scans = sum(len(loader.dataset.data) for loader in loaders)
    made = sum(path.stat().st_mtime >= started for path in cache.glob("*-image.npy"))
    return {"opening": opened - begun, "epoch": ended - opened, "hits": 1 - made / scans, "peak": _peak_gib()}


def compare(folder: Path, size: int) -> dict[str, Any]:
    """Starts a run twice, each time in a process of its own: first without anything in the cache, then with.

    Args:
        folder: what `write_scans` wrote.
        size: side of a slice.

    Returns:
        Peak memory in GiB of both starts, the cache's size in GiB, the share of scans the second start found in it and
        the seconds it took to open, and how many times the processor time of an epoch from the cache one takes that has
        to read and preprocess every scan once.
    """
    shutil.rmtree(folder / "cache", ignore_errors=True)
    starts = []
    for _ in range(2):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            starts.append(pool.apply(one_start, (str(folder), size)))
    first, second = starts
    return {
        "peaks": (first["peak"], second["peak"]),
        "cache": sum(path.stat().st_size for path in (folder / "cache").iterdir()) / 2**30,
        "hits": second["hits"],
        "opening": second["opening"],
        "ratio": (first["opening"] + first["epoch"]) / second["epoch"],
    }


def _peak_gib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def main() -> Measured:
    """Runs the benchmark."""
    lines = [f"cache: the tissue bundle's training slices, {SCANS} scans of {SCAN}"]
    sizes: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_scans(Path(folder), SCAN, SCANS)
        for size in SIZES:
            figures = sizes[str(size)] = compare(Path(folder), size)
            peaks = " and ".join(f"{peak:.1f}" for peak in figures["peaks"])
            lines.append(
                f"{size}x{size}: peak memory {peaks} GiB (filling and using the cache, {figures['cache']:.1f} GiB), "
                f"{figures['hits']:.0%} of the scans found by the next start, open in {figures['opening']:.0f} s; an "
                f"epoch that reads and preprocesses every scan costs {figures['ratio']:.1f} times the processor time"
            )
    return Measured(sizes, tuple(lines))
