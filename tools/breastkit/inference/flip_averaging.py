"""Predictions averaged over mirror images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

# Beyond these logits a probability is one or zero in single precision anyway.
_EPSILON = 1e-7


class FlipAveraging(Inferer):
    """Runs another inferer on images and their mirror images, and averages the probabilities it gives.

    Args:
        inferer: takes ``(B, C, H, W)`` and gives logits of the same rows and columns.
        axes: spatial axes to mirror along, 0 for rows (upside down) and 1 for columns (left for right); with both,
            also both at once. None of them leaves the inferer as it is.
    """

    def __init__(self, inferer: Inferer, *, axes: Sequence[int] = (1,)) -> None:
        super().__init__()
        self.inferer = inferer
        self.axes = tuple(sorted({int(axis) for axis in axes}))
        if not set(self.axes) <= {0, 1}:
            raise ValueError(f"axes must be 0 or 1, got {tuple(axes)}.")

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Returns the logits of the mean probabilities."""
        if not self.axes:
            unturned: torch.Tensor = self.inferer(inputs, network, *args, **kwargs)
            return unturned
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        turns = [
            [axis + 2 for axis in some]
            for count in range(len(self.axes) + 1)
            for some in combinations(self.axes, count)
        ]
        # All mirror images in one call, so that they are one batch.
        logits = self.inferer(torch.cat([images.flip(turn) for turn in turns]), network, *args, **kwargs)
        turned_back = [part.flip(turn) for part, turn in zip(logits.split(len(images)), turns, strict=True)]
        return torch.logit(torch.sigmoid(torch.stack(turned_back)).mean(0), eps=_EPSILON)
