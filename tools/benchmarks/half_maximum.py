"""Whether the lesion segmenter outlines better than a threshold at half of the brightest, in true boxes of phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measured import Measured
from breastkit.bundle import Bundle
from breastkit.dce.phases import DcePhases, lesion_slices, mask_slices, slice_boxes
from breastkit.dce.voxel_box import Grid
from breastkit.metrics import bootstrap_interval, dice
from breastkit.opened_bundle import OpenedBundle
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.transforms.crop_to_box import cut_region, region_around

# What is outlined: lesions as often as patients have them, and the kinds that a threshold is bad at.
_KINDS: dict[str, tuple[str, ...] | None] = {
    "usual": None,
    "irregular": ("irregular",),
    "spiculated": ("spiculated",),
    "non-mass": ("non_mass",),
}
_SEED = 62
# The slices in which a lesion is largest tell enough of it.
_SLICES = 3


def half_maximum(square: np.ndarray) -> np.ndarray:
    """Returns what enhances at least half as much as what enhances most.

    Args:
        square: pre, post and subtraction as red, green and blue, uint8.
    """
    gain = square[..., 2]
    return gain >= max(1.0, gain.max() / 2)


def dice_of_lesions(bundle: OpenedBundle, *, cases: int = 8, seed: int = _SEED) -> dict[str, Any]:
    """Compares both on the squares around true boxes, by kind of lesion.

    Args:
        bundle: the opened segmenter.
        cases: phantoms of each kind.
        seed: of the phantoms, on none of which anything was trained.

    Returns:
        By kind the number of lesions and the mean Dice of a lesion's slices, with 95 % intervals over lesions.
    """
    found = {}
    for kind, shapes in _KINDS.items():
        rows = [row for case in range(1, cases + 1) for row in _of_phantom(bundle, seed, case, shapes)]
        means = {name: bootstrap_interval([row[name] for row in rows]) for name in ("segmenter", "half_maximum")}
        found[kind] = {"lesions": len(rows), **{name: mean._asdict() for name, mean in means.items()}}
    return found


def _of_phantom(bundle: OpenedBundle, seed: int, case: int, shapes: tuple[str, ...] | None) -> list[dict[str, float]]:
    phantom = make_mri_phantom(seed, case, phases=2, shapes=shapes, orientation="LPS", shape=(224, 224, 90))
    grid = Grid.of(phantom.lesions.shape, phantom.affine)
    phases = DcePhases([grid.turn(each.astype(np.float32)) for each in phantom.phases], grid, (Path("0"), Path("1")))
    size, side = int(bundle.facts["slice_size"]), int(bundle.facts["image_size"])
    rows = []
    for number in range(1, len(phantom.lesion_table) + 1):
        truth = grid.turn(phantom.lesions == number)
        largest = [int(at) for at in np.argsort(truth.sum(axis=(1, 2)))[::-1][:_SLICES]]
        squares, box = lesion_slices(phases, size, only=largest)
        masks = mask_slices(truth, box)
        scores = [
            _of_square(bundle, squares[at], masks[at], part, side) for at in largest for part in slice_boxes(masks[at])
        ]
        if scores:
            rows.append({name: float(np.mean([score[name] for score in scores])) for name in scores[0]})
    return rows


def _of_square(bundle: OpenedBundle, picture: np.ndarray, mask: np.ndarray, box: Any, side: int) -> dict[str, float]:
    region = region_around(box, len(mask), margin=float(bundle.facts["margin"]))
    square, truth = cut_region(picture, region, side), cut_region(mask, region, side, mask=True) > 0
    image = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1))).float()[None] / 255
    with torch.no_grad():
        probability = bundle.run({"image": image[0][..., None]}).sigmoid().numpy()[0, ..., 0]
    return {
        "segmenter": dice(probability >= float(bundle.facts["threshold"]), truth),
        "half_maximum": dice(half_maximum(square), truth),
    }


def main() -> Measured:
    """Runs the benchmark."""
    figures = dice_of_lesions(Bundle("breast_mri_lesion_segmentation").opened())
    lines = [
        f"{kind}: {one['lesions']} lesions, {one['segmenter']['value']:.3f} against {one['half_maximum']['value']:.3f}"
        for kind, one in figures.items()
    ]
    return Measured({"kinds": figures}, ("half_maximum: Dice of the segmenter against a threshold", *lines))
