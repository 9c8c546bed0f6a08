"""Data small enough to train a bundle on within seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from breastkit.cases import CaseList, write_cases
from breastkit.images import write_nifti

# Right to left, back to front, feet to head: the canonical frame of the tissue bundle.
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


def breast_scan(seed: int, *, size: tuple[int, int, int] = (24, 20, 8)) -> tuple[np.ndarray, np.ndarray]:
    """Returns a bright double dome in front of a body, and its mask."""
    random = np.random.default_rng(seed)
    columns, rows, slices = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    width, depth = random.uniform(0.35, 0.45), random.uniform(0.6, 0.9)
    mask = np.zeros(size, dtype=bool)
    for side in (-0.5, 0.5):
        mask |= ((columns - side) / width) ** 2 + (rows / depth) ** 2 + (slices / 0.9) ** 2 < 1
    mask &= rows > -0.1
    body = rows < -0.1
    scan = 100 * mask + 40 * body + random.normal(0, 4, size)
    return scan.astype(np.float32), mask.astype(np.uint8)


def tiny_tissue(folder: Path, *, cases: int = 6) -> CaseList:
    """Writes scans, masks and a case list of half training, the rest validation and test."""
    items = []
    for number in range(cases):
        scan, mask = breast_scan(number)
        item = {"case": str(number), "fold": number % 2}
        for key, array in (("image", scan), ("label", mask)):
            item[key] = str(folder / key / f"case_{number}.nii.gz")
            Path(item[key]).parent.mkdir(parents=True, exist_ok=True)
            write_nifti(item[key], array, AFFINE)
        items.append(item)
    half, rest = cases // 2, cases // 2 + (cases - cases // 2 + 1) // 2
    lists = {"training": items[:half], "validation": items[half:rest], "test": items[rest:]}
    return write_cases(folder, lists, facts={"name": "tiny"})
