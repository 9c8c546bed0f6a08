"""What lies around a patient spared: a network sees the box around the body alone."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn

from breastkit.transforms.crop_to_box import in_steps

# Of the range between the darkest voxel and nearly the brightest; air with its noise lies below.
_BODY, _BRIGHTEST = 0.05, 0.99
# A body leaves no row with fewer bright voxels than this share of the fullest row; what does is noise.
_FEW = 0.01
# Pixels around the body, so that its border is seen from outside too.
_MARGIN = 8
# A logit whose probability is zero in single precision.
_OUTSIDE = -100.0
_VOXELS = 1_000_000


class AroundBody(Inferer):
    """Runs another inferer on the box around the body, at its scale, and says that what lies outside is background.

    The box is the same for all slices of a volume. Its ends lie on multiples of a step, so that networks take it and
    what was converted for one study fits many others. Where noise is as bright as tissue it is the whole slice.

    Args:
        inferer: takes ``(B, C, H, W)`` or ``(B, C, H, W, D)`` and gives logits of the same rows and columns.
        step: the ends of the box lie on its multiples.
    """

    def __init__(self, inferer: Inferer, *, step: int = 32) -> None:
        super().__init__()
        if int(step) < 1:
            raise ValueError(f"step must be 1 or more, got {step}.")
        self.inferer, self.step = inferer, int(step)

    def __call__(self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Returns logits on the whole slices."""
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        rows, columns = body_box(images, step=self.step)
        inside = self.inferer(images[:, :, rows, columns], network, *args, **kwargs)
        if inside.shape[2:4] == images.shape[2:4]:
            return inside
        whole = inside.new_full((*inside.shape[:2], *images.shape[2:]), _OUTSIDE)
        whole[:, :, rows, columns] = inside
        return whole


def body_box(images: torch.Tensor, *, step: int) -> tuple[slice, slice]:
    """Returns rows and columns of the box around what is brighter than air.

    Args:
        images: ``(B, C, H, W)`` or ``(B, C, H, W, D)``; where channels differ the brightest counts.
        step: its ends lie on multiples of it.
    """
    values = images.amax(dim=1).flatten()
    values = values[:: max(1, len(values) // _VOXELS)]
    low, high = values.min(), torch.quantile(values, _BRIGHTEST)
    bright = images.amax(dim=1) > low + _BODY * (high - low)
    spans = [bright.sum(dim=[other for other in range(bright.dim()) if other != axis]) for axis in (1, 2)]
    return tuple(_steps(counts, step) for counts in spans)


def _steps(counts: torch.Tensor, step: int) -> slice:
    inside = torch.nonzero(counts > _FEW * counts.max()).flatten()
    if not len(inside):
        return slice(0, len(counts))
    return in_steps(int(inside[0]) - _MARGIN, int(inside[-1]) + 1 + _MARGIN, len(counts), step)
