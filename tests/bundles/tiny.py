"""Data small enough to train a bundle on within seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from breastkit.cases import CaseList, write_cases
from breastkit.images import write_nifti, write_png

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


def lesion_picture(
    seed: int, *, size: tuple[int, int] = (28, 36), lesion: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a grainy picture with a dark ellipse in it, or none, and its mask as 0 and 255."""
    random = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    centre, radii = random.uniform(-0.4, 0.4, 2), random.uniform(0.25, 0.5, 2)
    mask = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < float(lesion)
    picture = np.where(mask, 40, 150) * random.uniform(0.8, 1.2, size)
    return picture.astype(np.uint8), mask * np.uint8(255)


def tiny_pictures(folder: Path, *, training: int = 16, others: int = 3) -> CaseList:
    """Writes pictures, masks and a case list; the last picture of every list shows no lesion."""
    counts = {"training": training, "validation": others, "test": others}
    lists: dict[str, list[dict]] = {}
    for name, count in counts.items():
        for number in range(count + 1):
            lesion, stem = number < count, f"{name}_{number}"
            kind = ("benign", "malignant")[number % 2] if lesion else "normal"
            item = {"case": stem, "class": kind, "fold": number % 2}
            for key, array in zip(
                ("image", "label"), lesion_picture(len(name) * 100 + number, lesion=lesion), strict=True
            ):
                item[key] = str(write_png(folder / key / f"{stem}.png", array))
            lists.setdefault(name, []).append({**item, "lesion_px": int(np.count_nonzero(array))})
    return write_cases(folder, lists, facts={"name": "tiny"})


def tiny_study(seed: int, *, size: tuple[int, int, int] = (40, 36, 10)) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns a study before and after contrast, in which one ellipsoid lights up, and its mask."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    centre, radii = random.uniform(-0.4, 0.4, 3), random.uniform(0.25, 0.45, 3)
    mask = sum(((axis - middle) / radius) ** 2 for axis, middle, radius in zip(axes, centre, radii, strict=True)) < 1
    before = 100 + random.normal(0, 5, size)
    return [before.astype(np.float32), (before + 150 * mask).astype(np.float32)], mask.astype(np.uint8)


def tiny_studies(folder: Path, *, cases: int = 10) -> Path:
    """Writes studies with masks in MAMA-MIA's layout."""
    for number in range(1, cases + 1):
        phases, mask = tiny_study(number)
        images = folder / "images" / f"DUKE_{number:03d}"
        images.mkdir(parents=True)
        for position, phase in enumerate(phases):
            write_nifti(images / f"duke_{number:03d}_{position:04d}.nii.gz", phase, AFFINE)
        expert = folder / "segmentations" / "expert" / f"duke_{number:03d}.nii.gz"
        expert.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(expert, mask, AFFINE)
    return folder
