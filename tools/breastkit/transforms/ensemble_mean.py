"""One probability out of those of several members, and how far they disagree."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform


class EnsembleMeand(MapTransform):
    """Replaces probabilities ``(members, …)`` by their mean ``(1, …)``.

    Where there are several members, two more entries say how sure they are: under ``<key>_spread`` the standard
    deviation at every pixel, and under ``<key>_disagreement`` one number for the picture, 0 where all members outline
    the same: one minus the mean Dice of the members' masks with the mask of their mean.

    Args:
        keys: the probabilities.
        threshold: from which probability on a pixel belongs to a mask.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(self, keys: KeysCollection, *, threshold: float = 0.5, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = float(threshold)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with the members' mean."""
        results = dict(data)
        for key in self.key_iterator(results):
            members = results[key]
            if len(members) > 1:
                mean = members.mean(0, keepdim=True)
                results[f"{key}_spread"] = members.std(0, correction=0, keepdim=True)
                results[f"{key}_disagreement"] = _disagreement(members >= self.threshold, mean >= self.threshold)
                results[key] = mean
        return results


def _disagreement(members: torch.Tensor, mean: torch.Tensor) -> float:
    overlap = (members & mean).flatten(1).sum(1)
    total = members.flatten(1).sum(1) + mean.sum()
    # Two empty masks agree.
    dice = torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)
    return float(1 - dice.mean())
