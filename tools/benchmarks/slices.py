"""The training loader: slices a second on one core, with the usual augmentation."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandBiasFieldd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)

from benchmarks.letterbox import synthetic_volume
from benchmarks.measured import Measured
from breastkit.datasets.slices import SlicesOfVolumes
from breastkit.images import write_nifti
from breastkit.transforms import LetterboxSlicesd, LoadVolumed


def usual_augmentation() -> Compose:
    """Returns rotation, scale, shift, intensity and bias field, every one of them always applied."""
    return Compose(
        [
            RandAffined(
                ("image", "label"),
                prob=1.0,
                rotate_range=0.26,
                scale_range=(0.1, 0.1),
                translate_range=(16, 16),
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandScaleIntensityd("image", factors=0.2, prob=1.0),
            RandShiftIntensityd("image", offsets=0.2, prob=1.0),
            RandAdjustContrastd("image", gamma=(0.7, 1.4), prob=1.0),
            RandBiasFieldd("image", coeff_range=(-0.3, 0.3), prob=1.0),
        ]
    )


def main() -> Measured:
    """Runs the benchmark."""
    lines = ["slices: SlicesOfVolumes on one thread, loaded in this process"]
    figures: dict[str, float] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            volume = synthetic_volume((512, 512, 60))
            paths = {
                key: str(write_nifti(folder / f"{key}.nii.gz", array[0].numpy().astype(np.int16), np.eye(4)))
                for key, array in volume.items()
            }
            for size in (256, 512):
                load = Compose([LoadVolumed(("image", "label")), LetterboxSlicesd(("image", "label"), size)])
                for title, transform in (("plain", None), ("augmented", usual_augmentation())):
                    data = SlicesOfVolumes([paths], load, transform, cache_dir=folder / "cache")
                    data.set_epoch(0)
                    start = time.process_time()
                    for _ in range(3):
                        for index in range(len(data)):
                            data[index]
                    rate = 3 * len(data) / (time.process_time() - start)
                    figures[f"{size} {title}"] = rate
                    lines.append(f"{size}x{size} {title}: {rate:.0f} slices a second of processor time")
    finally:
        torch.set_num_threads(threads)
    return Measured({"slices_a_second": figures}, tuple(lines))
