"""Pictures cut down to their lesion, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, convert_to_tensor
from numpy.typing import NDArray

# A lesion of a few pixels still gets something to be seen in.
_SMALLEST = 16


class CropToLesiond(MapTransform, InvertibleTransform):
    """Cuts pictures ``(1, rows, columns)`` down to a square around their mask; the inverse puts zeros around it.

    The square is moved into the picture where it stands out, and cut where the picture is smaller. A picture with an
    empty mask stays whole.

    Args:
        keys: the pictures, the mask among them where it is to be cut too.
        mask_key: the mask.
        margin: how much wider than the lesion's longer side the square is on each side, as a share of that; None leaves
            pictures as they are, so that a config can switch the cutting off.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self, keys: KeysCollection, *, mask_key: str, margin: float | None = 0.25, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key, self.margin = mask_key, None if margin is None else float(margin)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its pictures cut.

        Raises:
            ValueError: if a picture has another size than the mask.
        """
        results = dict(data)
        if self.margin is None:
            return results
        mask = np.asarray(torch.as_tensor(results[self.mask_key])[0]) > 0
        window = lesion_window(mask, margin=self.margin)
        for key in self.key_iterator(results):
            source = convert_to_tensor(results[key], track_meta=True)
            if tuple(source.shape[1:]) != mask.shape:
                raise ValueError(f"{key} has shape {tuple(source.shape[1:])} but its mask {mask.shape}.")
            result = MetaTensor(source.as_tensor()[:, *window].clone()).copy_meta_from(source)
            result.applied_operations = list(source.applied_operations)
            corner = [part.start for part in window]
            self.push_transform(result, orig_size=tuple(source.shape[1:]), extra_info={"corner": corner})
            results[key] = result
        return results

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its pictures in their place."""
        results = dict(data)
        if self.margin is None:
            return results
        for key in self.key_iterator(results):
            source = results[key]
            done = self.pop_transform(results, key)
            plain = source.as_tensor() if isinstance(source, MetaTensor) else source
            whole = torch.zeros((len(plain), *done[TraceKeys.ORIG_SIZE]), dtype=plain.dtype)
            row, column = done[TraceKeys.EXTRA_INFO]["corner"]
            whole[:, row : row + plain.shape[1], column : column + plain.shape[2]] = plain.cpu()
            results[key] = MetaTensor(whole).copy_meta_from(source)
        return results


def lesion_window(mask: NDArray[Any], *, margin: float = 0.25) -> tuple[slice, slice]:
    """Returns rows and columns of the square around a mask, the whole picture where the mask is empty."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    bounds = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    longer = max(int(last - first) + 1 for first, last in bounds)
    side = max(_SMALLEST, round(longer * (1 + 2 * margin)))
    window = []
    for (first, last), length in zip(bounds, mask.shape, strict=True):
        start = round((int(first) + int(last) + 1 - side) / 2)
        start = max(0, min(start, length - side))
        window.append(slice(start, min(length, start + side)))
    return window[0], window[1]
