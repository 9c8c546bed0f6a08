"""Tidying a predicted mask: without specks, or only its largest piece."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray


def clean_mask(mask: NDArray[Any], *, largest_only: bool = False, minimum_share: float = 0.0) -> NDArray[Any]:
    """Returns a mask without its small connected pieces, or with only the largest one.

    Pixels are connected through edges and corners.

    Args:
        mask: rows, columns.
        largest_only: keep one piece at most.
        minimum_share: pieces of fewer pixels than this share of the longest side squared go; so the same number suits
            a picture and its letterboxed square.
    """
    mask = np.asarray(mask) > 0
    count, pieces, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = facts[:, cv2.CC_STAT_AREA]
    keep = areas >= max(1, minimum_share * max(mask.shape) ** 2)
    keep[0] = False
    if largest_only and count > 1:
        keep &= np.arange(count) == 1 + areas[1:].argmax()
    cleaned: NDArray[Any] = keep[pieces]
    return cleaned


class CleanMaskd(MapTransform):
    """Cleans masks ``(1, rows, columns)`` by `clean_mask`.

    Args:
        keys: the masks.
        largest_only: keep one piece at most.
        minimum_share: pieces smaller than this share of the longest side squared go.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        largest_only: bool = False,
        minimum_share: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= minimum_share < 1:
            raise ValueError(f"minimum_share must lie between 0 and 1, got {minimum_share}.")
        self.largest_only, self.minimum_share = bool(largest_only), float(minimum_share)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its masks cleaned."""
        results = dict(data)
        for key in self.key_iterator(results):
            source = results[key]
            mask = source[0].detach().cpu().numpy()
            cleaned = clean_mask(mask, largest_only=self.largest_only, minimum_share=self.minimum_share)
            result = torch.from_numpy(cleaned)[None].to(source.dtype)
            results[key] = MetaTensor(result).copy_meta_from(source) if isinstance(source, MetaTensor) else result
        return results
