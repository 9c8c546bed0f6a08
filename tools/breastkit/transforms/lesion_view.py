"""What a classifier sees of a picture: gray values, the lesion brought out, the mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray

# Clip limit and tiles of the equalisation, and how much of the gray value is left around the lesion.
_CLIP_LIMIT, _TILES = 3.0, (4, 4)
_AROUND = 0.25


class Channel(StrEnum):
    """One channel of a view."""

    GRAY = "gray"
    LESION = "lesion"
    MASK = "mask"


class LesionViewd(MapTransform):
    """Makes the channels a classifier takes out of a gray square and the mask of its lesion.

    - ``gray``: the gray values, z-scored.
    - ``lesion``: inside the mask the gray values with their contrast equalised locally (CLAHE), outside a quarter of
      them, from -1 to 1; an empty mask leaves only the outside.
    - ``mask``: -1 outside, 1 inside.

    It moves no pixel, so that what a network finds in a view goes back with the square it was made of.

    Args:
        keys: squares ``(1, rows, columns)`` with values from 0 to 1, as `LetterboxPicturesd` makes them.
        mask_key: their masks; may be absent where the view is gray alone.
        channels: of the view, in order.
        allow_missing_keys: whether a key may be absent.

    Raises:
        ValueError: if a channel is none of these, or there is none.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mask_key: str,
        channels: Sequence[str] = tuple(Channel),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key, self.channels = mask_key, tuple(Channel(channel) for channel in channels)
        if not self.channels:
            raise ValueError(f"a view needs one channel or more of {', '.join(Channel)}.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its squares replaced by views ``(channels, rows, columns)``."""
        results = dict(data)
        for key in self.key_iterator(results):
            source = torch.as_tensor(results[key])
            gray = np.ascontiguousarray(np.asarray(source[0]), dtype=np.float32)
            mask = None
            if self.channels != (Channel.GRAY,):
                mask = np.asarray(torch.as_tensor(results[self.mask_key])[0]) > 0.5
            view = torch.from_numpy(lesion_view(gray, mask, channels=self.channels))
            if isinstance(source, MetaTensor):
                view = MetaTensor(view).copy_meta_from(source)
                view.applied_operations = list(source.applied_operations)
            results[key] = view
        return results


def lesion_view(
    gray: NDArray[Any], mask: NDArray[Any] | None, *, channels: Sequence[str] = tuple(Channel)
) -> NDArray[Any]:
    """Returns the channels of a view as one float32 array; see `LesionViewd`.

    Args:
        gray: rows, columns, from 0 to 1.
        mask: the lesion on the same grid; None where the view is gray alone.
        channels: in order.
    """
    view: NDArray[np.float32] = np.stack([_channel(Channel(name), gray, mask) for name in channels]).astype(np.float32)
    return view


def _channel(channel: Channel, gray: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[Any]:
    if channel is Channel.GRAY:
        values: NDArray[Any] = (gray - gray.mean()) / max(float(gray.std()), 1e-6)
        return values
    if mask is None:
        raise ValueError(f"the channel '{channel}' of a view needs the mask of the lesion.")
    if channel is Channel.LESION:
        return np.where(mask, equalised(gray), _AROUND * gray) * 2 - 1
    return np.where(mask, 1.0, -1.0)


def equalised(gray: NDArray[Any]) -> NDArray[Any]:
    """Returns gray values from 0 to 1 with their contrast equalised locally."""
    values = (np.clip(gray, 0, 1) * 255).round().astype(np.uint8)
    return cv2.createCLAHE(_CLIP_LIMIT, _TILES).apply(values).astype(np.float32) / 255
