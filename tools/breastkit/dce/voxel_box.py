"""A grid of voxels, a box of them, and the one way from a grid to another one of the same voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from breastkit.metrics.segmentation import bounding_box
from breastkit.transforms.letterbox import Letterbox
from breastkit.volume_order import in_order

Index = tuple[int, int, int]
# What files call the ends of a box: a grid's axes 0, 1 and 2 are column, row and slice; both ends are included.
BOUNDS = ("col_min", "col_max", "row_min", "row_max", "slice_min", "slice_max")
# Grids of the same voxels differ by less than this share of a voxel.
_CLOSE = 1e-2


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie.

    Attributes:
        shape: voxels along its three axes.
        affine: index to RAS+ millimetres.
    """

    shape: Index
    affine: NDArray[np.float64]

    @classmethod
    def of(cls, shape: Sequence[int], affine: Any) -> Grid:
        """Returns the grid of a volume whose affine may be of any kind."""
        columns, rows, slices = (int(size) for size in shape)
        return cls((columns, rows, slices), np.asarray(affine, dtype=np.float64))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash(self.shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel in millimetres along the axes."""
        first, second, third = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return first, second, third

    @cached_property
    def axial(self) -> Grid:
        """The same voxels as [slice, row, column]: from the feet, front at the top, the patient's right on the left.

        The closest axes count; nothing is resampled.
        """
        turn = ornt_transform(io_orientation(self.affine), axcodes2ornt(("L", "P", "S")))
        shape = [self.shape[axis] for axis in np.argsort(turn[:, 0])[::-1]]
        return Grid.of(shape, (self.affine @ inv_ornt_aff(turn, self.shape))[:, [2, 1, 0, 3]])

    def farthest_mm(self, affine: NDArray[np.float64]) -> float:
        """Returns how far the corner lies that another affine puts farthest away."""
        corners = np.array(np.meshgrid(*((0, size - 1) for size in self.shape))).reshape(3, -1)
        moved = (affine - self.affine) @ np.vstack([corners, np.ones(8)])
        return float(np.linalg.norm(moved[:3], axis=0).max())

    def letterbox(self, size: int) -> Letterbox:
        """Returns where the axial slices lie in squares of a size."""
        _, rows, columns = self.axial.shape
        return Letterbox.of_spacing(rows, columns, size, spacing=self.axial.spacing[1:])

    def turn(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Returns a volume of this grid as [slice, row, column]."""
        return self._brought(volume, self.axial)

    def restore(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Returns a volume [slice, row, column] on this grid; undoes `turn`."""
        return self.axial._brought(volume, self)

    def _brought(self, volume: NDArray[Any], grid: Grid) -> NDArray[Any]:
        axes = self.axes_on(grid)
        turned = np.asarray(volume).transpose([axis for axis, _ in axes])
        return in_order(turned[tuple(slice(None, None, -1 if back else 1) for _, back in axes)])

    def axes_on(self, grid: Grid) -> list[tuple[int, bool]]:
        """Returns for every axis of another grid which one of this grid it is, and whether it runs backwards.

        Raises:
            ValueError: if the other grid does not hold the same voxels.
        """
        moved = np.linalg.solve(grid.affine, self.affine)
        turn = moved[:3, :3].round()
        axes = [(int(np.abs(row).argmax()), bool(row.min() < 0)) for row in turn]
        # Where the first voxel of this grid lies on the other one: at the far end of what runs backwards.
        corner = [size - 1 if back else 0 for size, (_, back) in zip(grid.shape, axes, strict=True)]
        if (
            sorted(axis for axis, _ in axes) != [0, 1, 2]
            or [self.shape[axis] for axis, _ in axes] != list(grid.shape)
            or not np.allclose(moved[:3, :3], turn, rtol=0, atol=_CLOSE / max(self.shape))
            or not np.allclose(moved[:3, 3], corner, rtol=0, atol=_CLOSE)
        ):
            raise ValueError(f"grids of shape {self.shape} and {grid.shape} do not hold the same voxels")
        return axes


@dataclass(frozen=True)
class VoxelBox:
    """A box of voxels.

    Attributes:
        low: its first voxel along each axis of the grid.
        high: its last one, included.
        grid: that the voxels are counted on.
    """

    low: Index
    high: Index
    grid: Grid

    @classmethod
    def of_window(cls, window: tuple[slice, ...], grid: Grid) -> VoxelBox:
        """Returns the box that an index of three slices cuts out."""
        first, second, third = window
        low = (int(first.start), int(second.start), int(third.start))
        return cls(low, (int(first.stop) - 1, int(second.stop) - 1, int(third.stop) - 1), grid)

    @classmethod
    def around(cls, mask: NDArray[Any], grid: Grid) -> VoxelBox:
        """Returns the smallest box around a mask that is not empty."""
        return cls.of_window(bounding_box(np.asarray(mask) > 0), grid)

    @classmethod
    def of_bounds(cls, bounds: Mapping[str, Any], grid: Grid) -> VoxelBox:
        """Returns the box that a file tells by `BOUNDS`.

        Raises:
            KeyError, TypeError, ValueError: if one is missing or no number.
        """
        col_min, col_max, row_min, row_max, slice_min, slice_max = (int(bounds[name]) for name in BOUNDS)
        return cls((col_min, row_min, slice_min), (col_max, row_max, slice_max), grid)

    @property
    def bounds(self) -> dict[str, int]:
        """The box as files tell it: `BOUNDS`, both ends included."""
        ends = zip(self.low, self.high, strict=True)
        return dict(zip(BOUNDS, (end for axis in ends for end in axis), strict=True))

    @property
    def window(self) -> tuple[slice, slice, slice]:
        """The box as an index."""
        first, second, third = (slice(low, high + 1) for low, high in zip(self.low, self.high, strict=True))
        return first, second, third

    @property
    def edges(self) -> NDArray[np.float64]:
        """Lower outer edges along the axes, then upper ones, as `breastkit.detection.overlap` compares them."""
        return np.array([*self.low, *(end + 1 for end in self.high)], dtype=np.float64)

    @property
    def inside(self) -> bool:
        """Whether it holds a voxel and lies in its grid."""
        ends = zip(self.low, self.high, self.grid.shape, strict=True)
        return all(0 <= low <= high < size for low, high, size in ends)

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """Its middle in RAS+ millimetres."""
        middle = (np.array(self.low) + np.array(self.high)) / 2
        centre: NDArray[np.float64] = self.grid.affine[:3, :3] @ middle + self.grid.affine[:3, 3]
        return centre

    @property
    def size_mm(self) -> NDArray[np.float64]:
        """Its lengths along the axes in millimetres, from outer edge to outer edge."""
        size: NDArray[np.float64] = (np.array(self.high) - np.array(self.low) + 1) * np.array(self.grid.spacing)
        return size

    def on(self, grid: Grid) -> VoxelBox:
        """Returns the same box on another grid of the same voxels.

        Raises:
            ValueError: if the other grid does not hold the same voxels.
        """
        ends = []
        for size, (axis, back) in zip(grid.shape, self.grid.axes_on(grid), strict=True):
            low, high = self.low[axis], self.high[axis]
            ends.append((size - 1 - high, size - 1 - low) if back else (low, high))
        (low_0, high_0), (low_1, high_1), (low_2, high_2) = ends
        return VoxelBox((low_0, low_1, low_2), (high_0, high_1, high_2), grid)
