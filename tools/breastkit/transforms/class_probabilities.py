"""Probabilities of classes out of a classifier's logits."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from breastkit.metrics.classification import class_probabilities


class ClassProbabilitiesd(MapTransform):
    """Replaces the logits of a classifier ``(1 + samples, classes)`` by probabilities ``(classes,)``.

    How uncertain they are stands under ``<key>_uncertainty``; see `class_probabilities`.

    Args:
        keys: the logits.
        temperature: what logits are divided by.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(self, keys: KeysCollection, *, temperature: float = 1.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.temperature = float(temperature)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with probabilities."""
        results = dict(data)
        for key in self.key_iterator(results):
            logits = torch.as_tensor(results[key]).detach().cpu().float()
            probabilities, uncertainty = class_probabilities(logits[None].numpy(), self.temperature)
            results[key] = torch.from_numpy(probabilities[0])
            results[f"{key}_uncertainty"] = float(uncertainty[0])
        return results
