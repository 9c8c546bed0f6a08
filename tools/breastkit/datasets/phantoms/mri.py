"""Breast MRI phantoms: one study with its truth, folders of them, and how hard they are for a plain rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from breastkit.datasets.phantoms.mri_case import MriPhantom, make_mri_phantom
from breastkit.datasets.phantoms.mri_files import write_mri_phantoms
from breastkit.progress import parallel_map

__all__ = ["MriPhantom", "candidate_rule_recovery", "make_mri_phantom", "write_mri_phantoms"]


def candidate_rule_recovery(
    *, cases: int = 40, seed: int = 0, percentile: float = 98.0, workers: int | None = None
) -> dict[str, Any]:
    """Tells how often the plain candidate rule finds a lesion in phantoms that have one.

    The rule takes the voxels above a percentile of intensity inside the true breast mask of the first post-contrast
    phase, and of them the largest connected component. It has found a lesion when it overlaps one. Phantoms on which it
    mostly succeeds would be too easy to learn from.

    Args:
        cases: how many phantoms to make.
        seed: of the phantoms.
        percentile: of intensity inside the breast.
        workers: number of processes.

    Returns:
        cases, how many have a lesion, in how many the rule hits one, and that share.
    """
    jobs = [(seed, case, percentile) for case in range(1, cases + 1)]
    hits = [
        hit for hit in parallel_map(_rule_hits, jobs, "Trying the candidate rule", workers=workers) if hit is not None
    ]
    return {
        "cases": cases,
        "with_lesions": len(hits),
        "found": sum(hits),
        "recovery": sum(hits) / len(hits) if hits else float("nan"),
    }


def _rule_hits(job: tuple[int, int, float]) -> bool | None:
    """Returns whether the rule's candidate overlaps a lesion; None without lesions."""
    import cc3d

    seed, case, percentile = job
    phantom = make_mri_phantom(seed, case)
    if not phantom.lesion_table:
        return None
    scan, breast = phantom.phases[1], phantom.breast > 0
    bright = breast & (scan > np.percentile(scan[breast], percentile))
    if not bright.any():
        return False
    largest = cc3d.largest_k(bright, k=1, connectivity=26) > 0
    return bool((largest & (phantom.lesions > 0)).any())
