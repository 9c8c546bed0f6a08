"""Pictures to squares of one size, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import InterpolateMode, TraceKeys, convert_to_tensor

from breastkit.transforms.letterbox_slices import Letterbox, letterbox_masks, slice_percentiles, unletterbox


def letterbox_picture(
    image: np.ndarray, size: int, *, percentiles: tuple[float, float] = (0.5, 99.5)
) -> tuple[np.ndarray, Letterbox]:
    """Clips, scales and pads a picture; its values then lie between 0 (dark, and the padding) and 1.

    A picture that is shrunk is averaged over areas, since speckle would alias otherwise. A flat one becomes all zeros.

    Args:
        image: rows, columns.
        size: side of the square.
        percentiles: lower and upper clip percentage.

    Returns:
        The float32 square, and where the picture lies in it.
    """
    box = Letterbox(*image.shape, size)
    image = np.ascontiguousarray(image, dtype=np.float32)
    low, high = slice_percentiles(image, percentiles)
    square = np.zeros((size, size), np.float32)
    if high - low > 1e-6 * max(abs(high), abs(low)):
        clipped = np.clip(image, low, high)
        method = cv2.INTER_AREA if size < max(image.shape) else cv2.INTER_LINEAR
        scaled = cv2.resize(clipped, box.scaled[::-1], interpolation=method)
        # Averaging can round to a hair outside.
        np.clip((scaled - low) / (high - low), 0, 1, out=square[box.window])
    return square, box


class LetterboxPicturesd(MapTransform, InvertibleTransform):
    """Brings pictures ``(1, rows, columns)`` to squares with their aspect ratio kept, values from 0 to 1.

    Images are treated by `letterbox_picture`, masks scaled to the nearest neighbour. The inverse undoes the geometry of
    any number of channels, bilinear for what came from an image (and for probabilities), nearest for masks or where
    `monai.transforms.Invertd` asks for it.

    Args:
        keys: the pictures.
        image_size: side of the square.
        mask_keys: which of the keys are masks.
        percentiles: lower and upper clip percentage.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_size: int,
        *,
        mask_keys: KeysCollection = ("label",),
        percentiles: tuple[float, float] = (0.5, 99.5),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_size = int(image_size)
        self.mask_keys = (mask_keys,) if isinstance(mask_keys, str) else tuple(mask_keys)
        self.percentiles = (float(percentiles[0]), float(percentiles[1]))
        if self.image_size < 1:
            raise ValueError(f"image_size must be positive, got {image_size}.")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles must rise within 0 to 100, got {tuple(percentiles)}.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its pictures letterboxed.

        Raises:
            ValueError: if a picture is not ``(1, rows, columns)``.
        """
        results = dict(data)
        for key in self.key_iterator(results):
            source = convert_to_tensor(results[key], track_meta=True)
            if source.ndim != 3 or source.shape[0] != 1:
                raise ValueError(f"{key} must be one channel of a picture, got shape {tuple(source.shape)}.")
            picture = source.as_tensor().detach().cpu().numpy()
            is_mask = key in self.mask_keys
            if is_mask:
                square, box = letterbox_masks(picture, self.image_size)
            else:
                square, box = letterbox_picture(picture[0], self.image_size, percentiles=self.percentiles)
            result = MetaTensor(torch.from_numpy(square).reshape(1, *square.shape[-2:])).copy_meta_from(source)
            result.applied_operations = list(source.applied_operations)
            mode = InterpolateMode.NEAREST if is_mask else InterpolateMode.BILINEAR
            self.push_transform(
                result,
                orig_size=tuple(source.shape[1:]),
                extra_info={"rows": box.rows, "columns": box.columns, "size": box.size, "mode": mode.value},
            )
            results[key] = result
        return results

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its pictures at the size they had before."""
        results = dict(data)
        for key in self.key_iterator(results):
            source = results[key]
            info = self.pop_transform(results, key)[TraceKeys.EXTRA_INFO]
            box = Letterbox(info["rows"], info["columns"], info["size"])
            plain = source.as_tensor() if isinstance(source, MetaTensor) else source
            nearest = info["mode"].startswith(InterpolateMode.NEAREST.value)
            restored = unletterbox(plain.detach().cpu().numpy(), box, nearest=nearest)
            results[key] = MetaTensor(torch.from_numpy(restored)).copy_meta_from(source)
        return results
