"""Reading ultrasound pictures: seconds a picture, with and without the explanation, by OpenVINO and by torch."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from breastkit.bundles import bundle_folder
from breastkit.inference.ultrasound import CLASSIFIER, SEGMENTER, LesionClassifier, Segmenter, UltrasoundReader
from breastkit.networks import from_file
from breastkit.seeding import generator
from breastkit.training import save_weights

PICTURE = (448, 560)
PICTURES = 5
# What is computed does not depend on what was learnt, so random weights of the same networks do.
_SEGMENTER, _CLASSIFIERS = "efficient_unet", {"fusion": 2, "mask_aware": 3}
_VIEWS = {"fusion": ["gray", "lesion", "mask"], "mask_aware": ["gray", "mask"]}
_CLASSES = ["normal", "benign", "malignant"]


def main() -> str:
    """Runs the benchmark and returns its lines."""
    lines = [
        f"us: one picture of {PICTURE[0]}x{PICTURE[1]}, {_SEGMENTER} at 192, fusion and mask_aware at 160, "
        f"{torch.get_num_threads()} threads; the ensemble of folds that ships costs as many outlines as it has members"
    ]
    with tempfile.TemporaryDirectory() as name:
        weights = write_weights(Path(name))
        seconds = {backend: measure(reader_of(weights, backend)) for backend in ("openvino", "torch")}
    for backend, (plain, explained) in seconds.items():
        lines.append(
            f"  {backend}: {plain:.3f} s without explanation, {explained:.3f} s with it ({explained / plain:.1f} times)"
        )
    lines.append(f"  without explanation torch takes {seconds['torch'][0] / seconds['openvino'][0]:.1f} times as long")
    return "\n".join(lines)


def write_weights(folder: Path) -> dict[str, Path]:
    """Writes random weights of the networks that ship, by their architectures."""
    written = {
        _SEGMENTER: save_weights(
            folder / _SEGMENTER,
            _network(SEGMENTER, _SEGMENTER),
            architecture=_SEGMENTER,
            image_size=192,
            # Everything is lesion: an empty mask would spare the second classifier.
            threshold=0.0,
        )
    }
    for name, count in _CLASSIFIERS.items():
        written[name] = save_weights(
            folder / name,
            _network(CLASSIFIER, name),
            architecture=name,
            image_size=160,
            classes=_CLASSES[-count:],
            view={"channels": _VIEWS[name], "margin": None},
            samples=30,
            temperature=1.0,
            threshold=0.0,
            abstain_above=1.0,
        )
    return written


def reader_of(weights: dict[str, Path], backend: str) -> UltrasoundReader:
    """Opens the chain and lets it compute once, so that starting is not measured."""
    reader = UltrasoundReader(
        Segmenter(weights[_SEGMENTER], backend=backend),
        LesionClassifier(weights["fusion"], backend=backend),
        LesionClassifier(weights["mask_aware"], backend=backend),
    )
    reader.warm_up()
    return reader


def measure(reader: UltrasoundReader) -> tuple[float, float]:
    """Returns the median seconds a picture takes without and with the explanation."""
    random = generator(0, "bench us")
    pictures = random.integers(0, 256, (PICTURES, *PICTURE)).astype(np.uint8)
    reader.read(pictures[0])

    plain, explained = (
        median(_seconds(reader, gray, explain=explain) for gray in pictures) for explain in (False, True)
    )
    return plain, explained


def _seconds(reader: UltrasoundReader, gray: np.ndarray, *, explain: bool) -> float:
    start = time.perf_counter()
    reader.read(gray, explain=explain)
    return time.perf_counter() - start


def _network(bundle: str, architecture: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return from_file(Path(bundle_folder(bundle), "configs", "networks.json"), architecture).eval()


if __name__ == "__main__":
    sys.stdout.write(main() + "\n")
