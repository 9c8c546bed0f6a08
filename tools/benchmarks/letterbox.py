"""`LetterboxSlicesd` against MONAI's own transforms applied slice by slice."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from monai.transforms import (
    Compose,
    NormalizeIntensityd,
    Resized,
    ScaleIntensityRangePercentilesd,
    SpatialPadd,
)

from benchmarks.measured import Measured
from breastkit.seeding import generator
from breastkit.transforms.letterbox_slices import LetterboxSlicesd


def per_slice_transforms(size: int) -> Compose:
    """Returns MONAI's transforms that do to a slice what `LetterboxSlicesd` does to all slices of a volume."""
    return Compose(
        [
            ScaleIntensityRangePercentilesd("image", lower=1, upper=99, b_min=0, b_max=1, clip=True),
            Resized(
                ("image", "label"),
                spatial_size=size,
                size_mode="longest",
                mode=("bilinear", "nearest-exact"),
                align_corners=(False, None),
            ),
            SpatialPadd(("image", "label"), spatial_size=(size, size), method="symmetric", mode="constant", value=0),
            NormalizeIntensityd("image"),
        ]
    )


def synthetic_volume(shape: tuple[int, int, int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Returns whole-numbered noise on a smooth body with its mask, in the memory order of a NIfTI file."""
    random = generator(seed, "bench", "letterbox")
    columns, rows, slices = (np.linspace(-1, 1, length, dtype=np.float32) for length in shape)
    body = columns[:, None, None] ** 2 + rows[None, :, None] ** 2 + 0.3 * slices[None, None] ** 2 < 0.6
    image = random.gamma(2.0, 20.0, shape).astype(np.float32)
    image[body] += 300 * (1.2 + np.broadcast_to(columns[:, None, None], shape)[body])
    arrays = {"image": np.rint(image), "label": body.astype(np.float32)}
    return {key: torch.from_numpy(np.asfortranarray(array))[None] for key, array in arrays.items()}


def compare(shape: tuple[int, int, int], size: int, *, rounds: int = 3) -> dict[str, float]:
    """Times both ways on one volume, alternating, in processor time, and compares their results.

    Returns:
        ``ratio`` of the medians (MONAI over ours), ``seconds`` of ours, ``image_difference`` (largest, in standard
        deviations) and ``label_difference`` (share of pixels).
    """
    data = synthetic_volume(shape)
    ours = LetterboxSlicesd(("image", "label"), size)
    theirs = per_slice_transforms(size)

    def per_slice() -> dict[str, torch.Tensor]:
        # A slice is copied in picture order beforehand: MONAI gets the layout it would have read from a file.
        slices = [
            theirs({key: volume[..., k].permute(0, 2, 1).contiguous() for key, volume in data.items()})
            for k in range(shape[2])
        ]
        return {key: torch.stack([torch.as_tensor(item[key]) for item in slices], dim=-1) for key in data}

    times: dict[Callable, list[float]] = {per_slice: [], lambda: ours(data): []}
    results = []
    for _ in range(rounds):
        results = []
        for way, seconds in times.items():
            start = time.process_time()
            results.append(way())
            seconds.append(time.process_time() - start)
    slow, fast = (statistics.median(seconds) for seconds in times.values())
    difference = {key: (results[0][key] - results[1][key].as_tensor()).abs() for key in data}
    return {
        "ratio": slow / fast,
        "seconds": fast,
        "image_difference": float(difference["image"].max()),
        "label_difference": float((difference["label"] > 0).float().mean()),
    }


def main() -> Measured:
    """Runs the benchmark on volumes of the usual sizes."""
    lines = ["letterbox: MONAI per slice / LetterboxSlicesd, processor time of one thread"]
    sizes: dict[str, dict[str, float]] = {}
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        for shape, size in (((512, 512, 160), 256), ((512, 512, 160), 512), ((512, 384, 160), 256)):
            figures = sizes[f"{'x'.join(map(str, shape))} to {size}"] = compare(shape, size)
            lines.append(
                f"{shape} to {size}: {figures['ratio']:.1f} times faster ({figures['seconds']:.2f} s), "
                f"largest difference {figures['image_difference']:.1e} standard deviations, "
                f"masks differ in {figures['label_difference']:.4%}"
            )
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return Measured(sizes, tuple(lines))
