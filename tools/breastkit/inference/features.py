"""What is measured of a candidate, one row per scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FEATURES = ("volume_voxels", "volume_mm3", "mean_intensity", "max_intensity")


def measure_candidate(scan: NDArray[Any], candidate: NDArray[Any], *, voxel_mm3: float) -> dict[str, float]:
    """Returns the size of a candidate and its intensities in the scan's own units; zeros for an empty one."""
    values = np.asarray(scan)[np.asarray(candidate) > 0]
    if not values.size:
        return dict.fromkeys(FEATURES, 0)
    return {
        "volume_voxels": int(values.size),
        "volume_mm3": round(values.size * voxel_mm3, 3),
        "mean_intensity": round(float(values.mean(dtype=np.float64)), 4),
        "max_intensity": round(float(values.max()), 4),
    }
