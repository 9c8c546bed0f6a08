"""What lies around a patient spared: a network sees the box around the body alone."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn

from breastkit.transforms.crop_to_box import in_steps

# Of the range between the darkest voxel and nearly the brightest. Noisy air may lie above it, tissue hardly below.
_BODY, _BRIGHTEST = 0.05, 0.99
# A body leaves no row with fewer bright voxels than this share of the fullest row; what does is noise.
_FEW = 0.01
# Pixels around the body, so that its border is seen from outside too.
_MARGIN = 8
# A logit whose probability is zero in single precision.
_OUTSIDE = -100.0
# So many voxels tell what is bright; torch takes no quantile of millions.
_VOXELS = 1_000_000


class AroundBody(Inferer):
    """Runs another inferer on the box around the body, at its scale, and says that what lies outside is background.

    The box is the same for all slices of a volume. Little is risked for it: what is spared is the padding of slices
    that are no squares, and air that a scanner made black; where air is noisy the box is the whole slice.

    Args:
        inferer: takes ``(B, C, H, W)`` or ``(B, C, H, W, D)`` and gives logits of the same rows and columns.
    """

    def __init__(self, inferer: Inferer) -> None:
        super().__init__()
        self.inferer = inferer

    def __call__(self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Returns logits on the whole slices."""
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        rows, columns = body_box(images)
        inside = self.inferer(images[:, :, rows, columns], network, *args, **kwargs)
        if inside.shape[2:4] == images.shape[2:4]:
            return inside
        whole = inside.new_full((*inside.shape[:2], *images.shape[2:]), _OUTSIDE)
        whole[:, :, rows, columns] = inside
        return whole


def body_box(images: torch.Tensor) -> tuple[slice, slice]:
    """Returns rows and columns of the box around what is brighter than air.

    Args:
        images: ``(B, C, H, W)`` or ``(B, C, H, W, D)``; where channels differ the brightest counts.
    """
    brightest = images.amax(dim=1)
    some = brightest.flatten()[:: max(1, brightest.numel() // _VOXELS)]
    low, high = some.min(), torch.quantile(some, _BRIGHTEST)
    bright = brightest > low + _BODY * (high - low)
    rows, columns = (bright.sum(dim=[other for other in range(bright.dim()) if other != axis]) for axis in (1, 2))
    return _part(rows), _part(columns)


def _part(counts: torch.Tensor) -> slice:
    inside = torch.nonzero(counts > _FEW * counts.max()).flatten()
    if not len(inside):
        return slice(0, len(counts))
    return in_steps(int(inside[0]) - _MARGIN, int(inside[-1]) + 1 + _MARGIN, len(counts))
