"""Test-time augmentation and Monte-Carlo dropout of a classifier: logits without dropout, and many with it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from breastkit.networks import Classifier


class ClassSampling(Inferer):
    """Runs the features of a `Classifier` once and its head many times (Monte-Carlo dropout).

    Logits are means over a picture and its mirror images.

    Args:
        inferer: runs the features, for example a `Predictor`.
        samples: passes with dropout; 0 gives none.
        flip_axes: spatial axes to mirror along, 0 for rows and 1 for columns; none of them looks at the picture alone.
    """

    def __init__(self, inferer: Inferer, *, samples: int = 30, flip_axes: Sequence[int] = (1,)) -> None:
        super().__init__()
        self.inferer, self.samples = inferer, int(samples)
        self.flip_axes = tuple(sorted({int(axis) for axis in flip_axes}))
        if not set(self.flip_axes) <= {0, 1} or self.samples < 0:
            raise ValueError(f"flip_axes must be 0 or 1 and samples 0 or more, got {flip_axes} and {samples}.")

    def __call__(  # type: ignore[override]  # MONAI passes any callable; this needs the parts of a classifier
        self, inputs: torch.Tensor, network: Classifier, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Returns logits ``(batch, 1 + samples, classes)``; the first are those without dropout."""
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        turns = [
            [axis + 2 for axis in some]
            for count in range(len(self.flip_axes) + 1)
            for some in combinations(self.flip_axes, count)
        ]
        turned = torch.cat([images.flip(turn) for turn in turns])
        features = self.inferer(turned, network.trunk, *args, **kwargs).float()
        # The head is linear: what it makes of mean features is the mean of what it makes of each.
        features = features.unflatten(0, (len(turns), len(images))).mean(0)
        with torch.autocast(features.device.type, enabled=False):
            sure = network.head(features)[:, None]
            return torch.cat([sure, network.sampled(features, samples=self.samples)], dim=1)
