"""Pictures to squares of one size, and back."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import cv2
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from breastkit.transforms.letterbox import Letterbox, LetterboxTransform, plain
from breastkit.transforms.letterbox_slices import letterbox_masks, slice_percentiles, unletterbox


def letterbox_picture(
    image: NDArray[Any], size: int, *, percentiles: tuple[float, float] = (0.5, 99.5)
) -> tuple[NDArray[Any], Letterbox]:
    """Clips, scales and pads a picture; its values then lie between 0 (dark, and the padding) and 1.

    A picture that is shrunk is averaged over areas, since speckle would alias otherwise. A flat one becomes all zeros.

    Args:
        image: rows, columns.
        size: side of the square.
        percentiles: lower and upper clip percentage.

    Returns:
        The float32 square, and where the picture lies in it.
    """
    box = Letterbox(image.shape[0], image.shape[1], size)
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


class LetterboxPicturesd(LetterboxTransform):
    """Brings pictures ``(1, rows, columns)`` to squares with their aspect ratio kept, values from 0 to 1.

    Images are treated by `letterbox_picture`, masks scaled to the nearest neighbour.

    Args:
        keys: the pictures.
        image_size: side of the square.
        mask_keys: which of the keys are masks.
        percentiles: lower and upper clip percentage; 0.5 and 99.5 by default.
        allow_missing_keys: whether a key may be absent.
    """

    default_percentiles = (0.5, 99.5)
    kind, dimensions = "picture", 2

    def squares(self, key: Hashable, source: MetaTensor) -> tuple[torch.Tensor, Letterbox, dict[str, Any]]:
        """Returns the square, and where the picture lies in it."""
        picture = plain(source).numpy()
        if self.is_mask(key):
            box = Letterbox(picture.shape[1], picture.shape[2], self.image_size)
            square = letterbox_masks(picture, box)[0]
        else:
            square, box = letterbox_picture(picture[0], self.image_size, percentiles=self.percentiles)
        return torch.from_numpy(square)[None], box, {}

    def restored(self, source: torch.Tensor, box: Letterbox, *, nearest: bool) -> MetaTensor:
        """Returns pictures at the size they had before."""
        pictures = torch.from_numpy(unletterbox(plain(source).numpy(), box, nearest=nearest))
        result: MetaTensor = MetaTensor(pictures).copy_meta_from(source)
        return result
