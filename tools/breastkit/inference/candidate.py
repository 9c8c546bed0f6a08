"""The plain lesion candidate: what is brightest inside a mask."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from breastkit.metrics.segmentation import bounding_box


def find_candidate(scan: NDArray[Any], mask: NDArray[Any], *, percentile: float = 98.0) -> NDArray[Any]:
    """Returns the largest connected piece of the voxels above a percentile of the intensities inside a mask.

    Voxels are connected through faces, edges and corners. An empty mask, or one of a single intensity, has none.

    Args:
        scan: intensities (i, j, k).
        mask: where to look, on the same grid.
        percentile: voxels strictly above this percentile of the voxels in the mask.

    Raises:
        ValueError: if scan and mask differ in shape or the percentile is none.
    """
    if scan.shape != mask.shape:
        raise ValueError(f"scan and mask of one shape are needed, got {scan.shape} and {mask.shape}")
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must lie between 0 and 100, got {percentile}")
    found = np.zeros(mask.shape, dtype=bool)
    inside = np.asarray(mask) > 0
    if not inside.any():
        return found
    # Labelling the box around the mask instead of the whole scan is several times faster.
    box = bounding_box(inside)
    scan, inside = np.asarray(scan)[box], inside[box]
    bright = inside & (scan > np.percentile(scan[inside], percentile))
    if bright.any():
        found[box] = cc3d.largest_k(np.ascontiguousarray(bright), k=1, connectivity=26) > 0
    return found
