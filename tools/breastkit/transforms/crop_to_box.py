"""Slices cut down to what matters: to squares around boxes, all of one size for the network, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, convert_to_tensor
from numpy.typing import NDArray

# Of a box x0, y0, x1, y1 in pixels, x1 and y1 its outer edges.
Box = Sequence[float]
# Pixels; a lesion of a few still gets surroundings to be told from.
_SMALLEST = 32
# Sides that networks take are multiples of this, and few enough for what was converted for one study to fit the next.
_STEP = 32


class Region(NamedTuple):
    """A square of a picture: its first row and column, and its side."""

    top: int
    left: int
    side: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns, as an index."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


def region_around(
    box: Box, size: int, *, margin: float = 0.5, zoom: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> Region:
    """Returns the square around a box in a square picture, moved into the picture where it stands out.

    Args:
        box: x0, y0, x1, y1.
        size: side of the picture.
        margin: how much wider than the box's longer side it is on each side, as a share of that.
        zoom: how much larger than that it is.
        shift: how far down and right it is moved, as a share of its side.
    """
    x0, y0, x1, y1 = box
    side = max(_SMALLEST, max(x1 - x0, y1 - y0) * (1 + 2 * margin)) * zoom
    side = min(size, round(side))
    centres = (y0 + y1) / 2 + shift[0] * side, (x0 + x1) / 2 + shift[1] * side
    top, left = (max(0, min(round(centre - side / 2), size - side)) for centre in centres)
    return Region(top, left, side)


def whole(size: int) -> Region:
    """Returns the region that is a whole picture."""
    return Region(0, 0, size)


def in_steps(first: int, end: int, length: int) -> slice:
    """Returns the part of a side that a network takes: its ends are multiples of 32, or those of the side.

    Args:
        first: where the part begins at the latest.
        end: where it ends at the earliest, not included.
        length: of the side.
    """
    return slice(max(0, first) // _STEP * _STEP, min(length, -(-end // _STEP) * _STEP))


def cut_region(picture: NDArray[Any], region: Region, size: int, *, mask: bool = False) -> NDArray[Any]:
    """Returns a region of a picture (rows, columns[, channels]) at another size."""
    part = np.ascontiguousarray(picture[region.window])
    if region.side == size:
        return part
    how = cv2.INTER_AREA if region.side > size else cv2.INTER_LINEAR
    if mask:
        # A drawn-out edge is cut in the middle, not left where the nearest pixel happens to be.
        return (cv2.resize(part.astype(np.float32), (size, size), interpolation=how) >= 0.5).astype(np.uint8)
    return cv2.resize(part, (size, size), interpolation=how)


class CropToBoxesd(MapTransform, InvertibleTransform):
    """Cuts volumes ``(channels, rows, columns, slices)`` into their regions, ``(channels, size, size, regions)``.

    The inverse puts the regions back where they were, with zeros elsewhere; where several overlap the largest value
    stands, so it is meant for probabilities. A volume without any region gives one black region, of which nothing comes
    back.

    Args:
        keys: the volumes; rows and columns are equally many.
        image_size: side of the regions after cutting.
        regions_key: rows of slice, top, left and side.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        image_size: int,
        regions_key: str = "regions",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_size, self.regions_key = int(image_size), regions_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its volumes cut."""
        results = dict(data)
        regions = np.asarray(results[self.regions_key], dtype=int).reshape(-1, 4)
        for key in self.key_iterator(results):
            source = convert_to_tensor(results[key], track_meta=True)
            volume, size = source.as_tensor().cpu().numpy(), self.image_size
            cut = np.zeros((max(1, len(regions)), size, size, len(volume)), np.float32)
            for target, (number, *square) in zip(cut, regions, strict=False):
                target[:] = _cut(volume[..., number], Region(*square), size)
            tensor = torch.from_numpy(np.ascontiguousarray(cut.transpose(3, 1, 2, 0)))
            result = MetaTensor(tensor).copy_meta_from(source)
            result.applied_operations = list(source.applied_operations)
            info = {"regions": regions.tolist()}
            self.push_transform(result, orig_size=tuple(source.shape[1:]), extra_info=info)
            results[key] = result
        return results

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with what its regions hold at their places."""
        results = dict(data)
        for key in self.key_iterator(results):
            source = results[key]
            done = self.pop_transform(results, key)
            plain = convert_to_tensor(source).cpu().numpy().astype(np.float32)
            pasted = paste_regions(plain, done[TraceKeys.EXTRA_INFO]["regions"], done[TraceKeys.ORIG_SIZE])
            results[key] = MetaTensor(torch.from_numpy(pasted)).copy_meta_from(source)
        return results


def paste_regions(cut: NDArray[Any], regions: Sequence[Sequence[int]], shape: Sequence[int]) -> NDArray[Any]:
    """Returns a volume with what was cut out of it at its place; zeros elsewhere, the largest value where several lie.

    Args:
        cut: ``(channels, size, size, regions)``, float32.
        regions: slice, top, left and side of each.
        shape: rows, columns and slices of the volume.
    """
    pasted = np.zeros((len(cut), *shape), np.float32)
    for position, (number, *square) in enumerate(regions):
        region = Region(*square)
        target = pasted[:, *region.window, number]
        back = _cut(cut[..., position], Region(0, 0, cut.shape[1]), region.side)
        np.maximum(target, back.transpose(2, 0, 1), out=target)
    return pasted


def _cut(picture: NDArray[Any], region: Region, size: int) -> NDArray[Any]:
    """Returns a region of a picture (channels, rows, columns) as (size, size, channels)."""
    cut = cut_region(np.ascontiguousarray(picture.transpose(1, 2, 0)), region, size)
    return cut.reshape(size, size, len(picture))
