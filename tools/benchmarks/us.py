"""Reading ultrasound pictures: seconds a picture, with and without the explanation, by OpenVINO and by torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch

from benchmarks.measured import Measured
from breastkit.bundle import Bundle
from breastkit.inference.ultrasound import UltrasoundReader
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.pipelines import ULTRASOUND

SIZE = (448, 560)
PICTURES = 6


def main() -> Measured:
    """Runs the benchmark."""
    pictures = phantom_pictures(PICTURES)
    lines = [
        f"us: phantoms of {SIZE[0]}x{SIZE[1]}, read with the weights in use, {torch.get_num_threads()} threads; "
        "seconds a picture, median and longest"
    ]
    figures: dict[str, dict[str, float]] = {}
    for backend in ("openvino", "torch"):
        reader = UltrasoundReader.of_bundle(Bundle(ULTRASOUND), backend=backend)
        reader.warm_up()
        found, seconds = measure(reader, pictures, explain=False)
        _, explained = measure(reader, pictures, explain=True)
        figures[backend] = {
            "plain_median_s": median(seconds),
            "plain_longest_s": max(seconds),
            "explained_median_s": median(explained),
            "explained_longest_s": max(explained),
        }
        lines.append(
            f"{backend}: {median(seconds):.3f} and {max(seconds):.3f} without explanation, "
            f"{median(explained):.3f} and {max(explained):.3f} with it; a lesion in {found} of {len(pictures)} pictures"
        )
    ratio = figures["torch"]["plain_median_s"] / figures["openvino"]["plain_median_s"]
    lines.append(f"without explanation torch takes {ratio:.1f} times as long")
    return Measured({"pictures": len(pictures), **figures, "torch_to_openvino": ratio}, tuple(lines))


def phantom_pictures(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Returns pictures with a lesion: where none is outlined the second classifier has nothing to do."""
    return [make_us_phantom(7, case, size=size, label="malignant").image for case in range(1, count + 1)]


def measure(reader: UltrasoundReader, pictures: Sequence[np.ndarray], *, explain: bool) -> tuple[int, list[float]]:
    """Returns in how many pictures a lesion was outlined, and the seconds each picture took."""
    found, seconds = 0, []
    for gray in pictures:
        start = time.perf_counter()
        found += reader.read(gray, explain=explain).found
        seconds.append(time.perf_counter() - start)
    return found, seconds
