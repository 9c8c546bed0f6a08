"""Transforms that treat masks otherwise than images."""

from __future__ import annotations

from collections.abc import Hashable

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple


class MaskKeysTransform(MapTransform):
    """Dictionary transform that is told which of its keys are masks.

    Args:
        keys: what to transform.
        mask_keys: which of the keys are masks.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self, keys: KeysCollection, *, mask_keys: KeysCollection = ("label",), allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys: tuple[Hashable, ...] = ensure_tuple(mask_keys)

    def is_mask(self, key: Hashable) -> bool:
        """Tells whether a key is a mask."""
        return key in self.mask_keys
