"""A dynamic breast MRI study: its series, phases, arrival of contrast, correction, and what is measured in it.

`find_phases` says which series are the phases, `read_phases` reads them as one axial view, `correct_phases` takes out
motion and shading. A `Grid` says where voxels lie; a `VoxelBox` is a box of them, and its `on` the one way to another
grid.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "BOUNDS": "voxel_box",
    "DcePhases": "phases",
    "Grid": "voxel_box",
    "StudyPhases": "series",
    "VoxelBox": "voxel_box",
    "air_around": "features",
    "channel_volume": "phases",
    "correct_phases": "correction",
    "find_arrival": "arrival",
    "find_phases": "series",
    "kinetic_features": "features",
    "lesion_slices": "phases",
    "mask_slices": "phases",
    "place_features": "features",
    "read_phases": "phases",
    "shape_features": "features",
    "slice_boxes": "phases",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Imported when asked for: training on slices needs neither pydicom nor what measures lesions.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
