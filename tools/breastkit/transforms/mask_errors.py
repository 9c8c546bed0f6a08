"""Masks as wrong as those of a segmenter sometimes are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray


class RandMaskErrorsd(RandomizableTransform, MapTransform):
    """Spoils masks: grown or shrunk, shifted, or lost, so that a network learns not to trust them blindly.

    Args:
        keys: masks ``(1, rows, columns)`` of zeros and ones.
        prob: probability to grow or shrink, and to shift.
        lost: probability to lose the mask altogether.
        border: by how much of the lesion's diameter it may grow or shrink at most.
        shift: by how much of it the mask may be moved at most along each axis.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        prob: float = 0.5,
        lost: float = 0.05,
        border: float = 0.15,
        shift: float = 0.1,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.lost, self.border, self.shift = float(lost), float(border), float(shift)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with spoilt masks; all keys are spoilt alike."""
        results = dict(data)
        self.randomize(None)
        lost = self.R.uniform() < self.lost
        border, down, right = self.R.uniform(-1, 1, 3) * (self.border, self.shift, self.shift)
        for key in self.key_iterator(results):
            mask = results[key]
            if lost:
                results[key] = mask * 0
            elif self._do_transform:
                spoilt = spoil(np.asarray(torch.as_tensor(mask)[0]) > 0.5, border=border, shift=(down, right))
                results[key] = torch.from_numpy(spoilt)[None].to(mask)
        return results


def spoil(mask: NDArray[Any], *, border: float, shift: tuple[float, float]) -> NDArray[Any]:
    """Returns a mask grown (or, where negative, shrunk) and shifted by shares of the diameter of a disc of its area."""
    diameter = 2 * np.sqrt(np.count_nonzero(mask) / np.pi)
    radius = round(abs(border) * diameter)
    changed: NDArray[Any] = mask.astype(np.uint8)
    if radius:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        changed = (cv2.dilate if border > 0 else cv2.erode)(changed, kernel)
    down, right = (float(round(share * diameter)) for share in shift)
    move = np.array([[1, 0, right], [0, 1, down]], dtype=np.float32)
    return cv2.warpAffine(changed, move, changed.shape[::-1], flags=cv2.INTER_NEAREST) > 0
