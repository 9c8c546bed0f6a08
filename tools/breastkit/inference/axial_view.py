"""Axial pictures of a volume however it is stored: front at the top, the patient's right on the left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from breastkit.pictures import outline, overlay, to_rgb

Colour = tuple[int, int, int]


class AxialView:
    """A scan with masks, turned the way radiologists look at axial slices, slices numbered from the feet.

    Args:
        scan: intensities (i, j, k).
        affine: voxel to RAS+ millimetres; the closest axes count, nothing is resampled between slices.
        masks: masks on the same grid by name.
    """

    def __init__(self, scan: NDArray[Any], affine: NDArray[Any], masks: Mapping[str, NDArray[Any]] | None = None):
        self._turn = ornt_transform(io_orientation(affine), axcodes2ornt(("L", "P", "S")))
        lengths = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
        self._spacing = lengths[np.argsort(self._turn[:, 0])]
        self.scan = apply_orientation(np.asarray(scan), self._turn)
        self.masks = {name: apply_orientation(np.asarray(mask), self._turn) for name, mask in (masks or {}).items()}
        # One window for the whole scan, so that slices can be compared; a sample of it tells as much.
        sample = self.scan[::4, ::4, ::2].astype(np.float32)
        self._low, self._high = np.percentile(sample, (1, 99.5))

    @property
    def depth(self) -> int:
        """Number of axial slices."""
        return int(self.scan.shape[2])

    def largest(self, name: str) -> int:
        """Returns the slice in which a mask is largest; the middle one where it is empty."""
        areas = np.count_nonzero(self.masks[name], axis=(0, 1))
        return int(areas.argmax()) if areas.any() else self.depth // 2

    def middle(self, count: int) -> list[int]:
        """Returns consecutive slices around the middle of the scan."""
        count = min(count, self.depth)
        start = (self.depth - count) // 2
        return list(range(start, start + count))

    def spread(self, name: str, count: int) -> list[int]:
        """Returns slices spread evenly over the extent of a mask; over the scan where it is empty."""
        inside = np.flatnonzero(self.masks[name].any(axis=(0, 1)))
        first, last = (inside[0], inside[-1]) if inside.size else (0, self.depth - 1)
        return [round(float(k)) for k in np.linspace(first, last, count + 2)[1:-1]]

    def picture(
        self, k: int, outlined: Sequence[tuple[str, Colour]] = (), filled: Sequence[tuple[str, Colour]] = ()
    ) -> NDArray[Any]:
        """Returns a slice as RGB of square pixels, with masks outlined or tinted in their colours."""
        gray = (self.scan[:, :, k].T.astype(np.float32) - self._low) / max(self._high - self._low, 1e-6)
        picture = to_rgb(self._square((np.clip(gray, 0, 1) * 255).astype(np.uint8), cv2.INTER_LINEAR))
        for draw, wanted in ((overlay, filled), (outline, outlined)):
            for name, colour in wanted:
                mask = (self.masks[name][:, :, k].T > 0).astype(np.uint8)
                picture = draw(picture, self._square(mask, cv2.INTER_NEAREST), colour)
        return picture

    def around(self, name: str, k: int, *, least_mm: float) -> tuple[slice, slice]:
        """Returns rows and columns of a slice's picture around a mask: a square twice its extent, inside the picture.

        Args:
            name: of the mask; of an empty one the whole picture is returned.
            k: the slice.
            least_mm: side of the square at least.
        """
        mask = self._square((self.masks[name][:, :, k].T > 0).astype(np.uint8), cv2.INTER_NEAREST)
        if not mask.any():
            return slice(None), slice(None)
        edges = [(int(inside.min()), int(inside.max()) + 1) for inside in np.nonzero(mask)]
        side = max(round(least_mm / self._spacing[:2].min()), *(2 * (high - low) for low, high in edges))
        window = []
        for (low, high), size in zip(edges, mask.shape, strict=True):
            start = min(max((low + high - side) // 2, 0), max(size - side, 0))
            window.append(slice(start, min(start + side, size)))
        rows, columns = window
        return rows, columns

    def _square(self, image: NDArray[Any], interpolation: int) -> NDArray[Any]:
        columns, rows = self._spacing[:2] / self._spacing[:2].min()
        if max(columns, rows) < 1.01:
            return np.ascontiguousarray(image)
        size = (round(image.shape[1] * columns), round(image.shape[0] * rows))
        return cv2.resize(np.ascontiguousarray(image), size, interpolation=interpolation)
