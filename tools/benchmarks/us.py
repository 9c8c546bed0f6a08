"""Reading ultrasound pictures: seconds a picture, with and without the explanation, by OpenVINO and by torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch

from breastkit.bundle import Bundle
from breastkit.inference.ultrasound import UltrasoundReader
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.pipelines import ULTRASOUND

SIZE = (448, 560)
PICTURES = 6


def main() -> str:
    """Runs the benchmark and returns its lines."""
    pictures = phantom_pictures(PICTURES)
    lines = [
        f"us: phantoms of {SIZE[0]}x{SIZE[1]}, read with the weights in use, {torch.get_num_threads()} threads; "
        "seconds a picture, median and longest"
    ]
    plain = {}
    for backend in ("openvino", "torch"):
        reader = UltrasoundReader.of_bundle(Bundle(ULTRASOUND), backend=backend)
        reader.warm_up()
        found, seconds = measure(reader, pictures, explain=False)
        plain[backend] = median(seconds)
        _, explained = measure(reader, pictures, explain=True)
        lines.append(
            f"  {backend}: {median(seconds):.3f} and {max(seconds):.3f} without explanation, "
            f"{median(explained):.3f} and {max(explained):.3f} with it; a lesion in {found} of {len(pictures)} pictures"
        )
    lines.append(f"  without explanation torch takes {plain['torch'] / plain['openvino']:.1f} times as long")
    return "\n".join(lines)


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


if __name__ == "__main__":
    sys.stdout.write(main() + "\n")
