"""The predictor's backends against torch, and the peak memory of inference on a large scan."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.measured import Measured
from breastkit.bundle import bundle_folder
from breastkit.images import write_nifti
from breastkit.inference import Predictor
from breastkit.metrics import dice
from breastkit.networks import from_file
from breastkit.seeding import generator

BUNDLE = "breast_mri_tissue_segmentation"
SCAN = (512, 512, 160)
# Architecture, side of a slice and slices a round.
CASES = (("compact", 256, 16), ("reference", 512, 4))
WAYS = {"torch f32": ("torch", "f32"), "OpenVINO f32": ("openvino", "f32"), "OpenVINO bf16": ("openvino", "bf16")}


def main() -> Measured:
    """Measures speed-ups over torch, agreement with it, and the peak memory of inference on a scan of 512x512x160."""
    lines = ["Predictor: speed-up over torch on this CPU (median of interleaved rounds), Dice of the masks against it"]
    figures: dict[str, dict[str, Any]] = {}
    for architecture, size, slices in CASES:
        ways = compare(architecture, size, slices)
        figures[architecture] = {
            "size": size,
            "ways": {way: {"speed_up": times, "dice": agreement} for way, (times, agreement) in ways.items()},
            "peak_gib": peak_gib(architecture, size),
        }
        lines += [
            f"{architecture} at {size}: {way} {speed_up:.2f}x, Dice {agreement:.4f}"
            for way, (speed_up, agreement) in ways.items()
        ]
    lines += [
        f"peak memory of inference on a scan of {SCAN}: {architecture} at {one['size']} {one['peak_gib']:.2f} GiB"
        for architecture, one in figures.items()
    ]
    return Measured(figures, tuple(lines))


def compare(architecture: str, size: int, slices: int, *, rounds: int = 3) -> dict[str, tuple[float, float]]:
    """Returns by way of computing the speed-up over torch and the Dice of its masks with torch's."""
    network = _network(architecture)
    images = torch.from_numpy(generator(0, "bench", "predictor").standard_normal((slices, 1, size, size), np.float32))
    predictors = {way: Predictor(16, backend, precision) for way, (backend, precision) in WAYS.items()}
    outputs = {way: predictor(images, network) for way, predictor in predictors.items()}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, predictor in predictors.items():
            start = time.perf_counter()
            predictor(images, network)
            seconds[way].append(time.perf_counter() - start)
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    truth = outputs["torch f32"]
    middle = float(truth.median())
    return {
        way: (
            medians["torch f32"] / medians[way],
            dice((outputs[way] > middle).numpy(), (truth > middle).numpy()),
        )
        for way in WAYS
    }


def peak_gib(architecture: str, size: int) -> float:
    """Returns the peak memory of a process that runs the bundle's inference on one large scan.

    A few of its slices hold an image; the others are empty and share one run of the network, which takes as much memory
    in less time.
    """
    with tempfile.TemporaryDirectory() as folder:
        scan = np.zeros(SCAN, dtype=np.int16)
        scan[100:400, 50:350, 70:78] = generator(0, "bench", "scan").integers(1, 900, (300, 300, 8))
        write_nifti(Path(folder) / "scan.nii.gz", scan, np.diag([-0.7, -0.7, 1.0, 1.0]))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(_infer, (folder, architecture, size))


def _infer(folder: str, architecture: str, size: int) -> float:
    from monai.bundle import create_workflow

    from breastkit.training import save_weights

    weights = save_weights(folder, _network(architecture), architecture=architecture, image_size=size, threshold=0.5)
    workflow = create_workflow(
        config_file=str(Path(bundle_folder(BUNDLE)) / "configs" / "inference.json"),
        workflow_type="infer",
        dataset_dir=f"{folder}/scan.nii.gz",
        output_dir=f"{folder}/out",
        ckpt_path=str(weights),
        save_probability=True,
    )
    workflow.run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def _network(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    return from_file(Path(bundle_folder(BUNDLE)) / "configs" / "networks.json", architecture).eval()
