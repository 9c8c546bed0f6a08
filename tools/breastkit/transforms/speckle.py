"""Speckle of another strength and grain."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray


class RandSpeckled(RandomizableTransform, MapTransform):
    """Multiplies images by correlated noise around 1, as the speckle of another probe would.

    Black stays black, so images must be 0 where there is nothing. Grains are longer across the beam than along it, as
    in a scan.

    Args:
        keys: images ``(channel, rows, columns)``, 0 for black.
        prob: probability to act.
        strength: range of the noise's standard deviation.
        grain: range of the size of a grain along the beam (rows), the standard deviation of a blur in pixels.
        elongation: range of the ratio of its size across the beam to that along it.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        prob: float = 0.1,
        strength: tuple[float, float] = (0.05, 0.4),
        grain: tuple[float, float] = (0.3, 1.2),
        elongation: tuple[float, float] = (1.0, 2.5),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.spans = (strength, grain, elongation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with speckled images; all keys get the same noise."""
        results = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return results
        strength, grain, elongation = (self.R.uniform(low, high) for low, high in self.spans)
        # The generator's float32 normals cost half of its float64 ones, but the old state MONAI uses has none.
        seed = int(self.R.randint(2**31))
        for key in self.key_iterator(results):
            image = results[key]
            noise = np.random.default_rng(seed).standard_normal(image.shape[-2:], dtype=np.float32)
            grains: NDArray[Any] = cv2.GaussianBlur(noise, (0, 0), sigmaX=grain * elongation, sigmaY=grain)
            grains *= strength / max(float(grains.std()), 1e-6)
            results[key] = image * torch.from_numpy(1 + grains).to(image).clamp_(min=0)
        return results
