"""How often planted flips of masks are recognised and undone."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.measured import Measured
from benchmarks.orientation import SHAPE
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.progress import parallel_map
from breastkit.transforms.align_mask import find_alignment
from breastkit.transforms.orient_breast import canonical_orientation, reorient

# What a conversion did to a mask, as axes of (column, row, slice).
FLIPS = {"none": (), "rows": (1,), "columns": (0,), "rows and columns": (1, 0)}


def alignment_recovery(
    *, cases: int = 40, seed: int = 0, shape: tuple[int, int, int] = SHAPE, workers: int | None = None
) -> dict[str, float]:
    """Tells how often the breast masks of phantoms come back to their scans.

    Every mask is judged four times against the first post-contrast phase, both in the canonical frame: as it is, with
    its rows, its columns, and both flipped.

    Args:
        cases: how many phantoms to make.
        seed: of the phantoms.
        shape: columns, rows and slices.
        workers: number of processes.

    Returns:
        The share of masks laid right for each flip, and over all.
    """
    jobs = [(seed, case, shape) for case in range(1, cases + 1)]
    right = np.array(parallel_map(_laid_right, jobs, "Aligning masks", workers=workers, unit="phantom"))
    return {**dict(zip(FLIPS, right.mean(axis=0).tolist(), strict=True)), "overall": float(right.mean())}


def _laid_right(job: tuple[int, int, tuple[int, int, int]]) -> list[bool]:
    seed, case, shape = job
    phantom = make_mri_phantom(seed, case, shape=shape, phases=2)
    scan, mask = (
        reorient(torch.from_numpy(volume.astype(np.float32))[None], canonical_orientation(phantom.affine))[0].numpy()
        for volume in (phantom.phases[1], phantom.breast)
    )
    return [set(find_alignment(scan, np.flip(mask, axes)).axes) == set(axes) for axes in FLIPS.values()]


def main() -> Measured:
    """Runs the benchmark."""
    cases = 40
    flips = alignment_recovery(cases=cases)
    shares = ", ".join(f"{flip} {share:.1%}" for flip, share in flips.items())
    line = f"alignment: {cases} phantoms, flips of masks judged right: {shares}"
    return Measured({"cases": cases, "flips": flips}, (line,))
