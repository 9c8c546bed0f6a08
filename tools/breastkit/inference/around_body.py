"""What lies around a patient spared: a network sees the box around the body alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch.nn.functional import avg_pool2d

from breastkit.transforms.crop_to_box import in_steps

# Noise is averaged away over cells of so many pixels a side.
_CELL = 8
# Of the contrast of a slice, what is left over cells; noise alone keeps an eighth, or a little more once resampled.
_MORE_THAN_NOISE = 0.3
# Tissue is brighter than the darkest cell of its slice by this share of what nearly the brightest one is.
_BODY, _BRIGHTEST = 0.05, 0.99
# It is brighter by the noise at least, which is what the quietest cells vary by within.
_QUIET = 0.1
# A body leaves no row of cells with fewer bright ones than this share of the fullest row; what does is an artefact.
_FEW = 0.002
# Pixels around the body: its border is seen from outside too, and a dim tip of a breast is not cut off.
_MARGIN = 16
# A logit whose probability is zero in single precision.
_OUTSIDE = -100.0


class AroundBody(Inferer):
    """Runs another inferer on the box around the body, at its scale, and says that what lies outside is background.

    The box is the same for all slices of a volume. What is spared is air before and beside the body, and the
    padding of slices that are no squares.

    Args:
        inferer: takes ``(B, C, H, W)`` or ``(B, C, H, W, D)`` and gives logits of the same rows and columns.
    """

    def __init__(self, inferer: Inferer) -> None:
        super().__init__()
        self.inferer = inferer

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Returns logits on the whole slices."""
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        rows, columns = body_box(images)
        inside: torch.Tensor = self.inferer(images[:, :, rows, columns], network, *args, **kwargs)
        if inside.shape[2:4] == images.shape[2:4]:
            return inside
        whole: torch.Tensor = inside.new_full((*inside.shape[:2], *images.shape[2:]), _OUTSIDE)
        whole[:, :, rows, columns] = inside
        return whole


def body_box(images: torch.Tensor) -> tuple[slice, slice]:
    """Returns rows and columns of the box around what is brighter than air, in any slice that shows more than noise.

    Args:
        images: ``(B, C, H, W)`` or ``(B, C, H, W, D)``, each slice clipped as `LetterboxSlicesd` does
            and on a scale of its own; where channels differ the brightest counts.
    """
    brightest = images.amax(dim=1).float()
    slices = brightest.movedim(3, 1).flatten(0, 1) if brightest.dim() == 4 else brightest
    cells, squares = (avg_pool2d(part[:, None], _CELL, ceil_mode=True).flatten(1) for part in (slices, slices.square()))
    low, high = cells.amin(dim=1), torch.quantile(cells, _BRIGHTEST, dim=1)
    noise = torch.quantile((squares - cells.square()).clamp(min=0).sqrt(), _QUIET, dim=1)
    tissue = cells > (low + torch.maximum(_BODY * (high - low), noise))[:, None]
    shown = cells.std(dim=1) > _MORE_THAN_NOISE * slices.flatten(1).std(dim=1)
    bright = (tissue & shown[:, None]).unflatten(1, (-(-slices.shape[1] // _CELL), -1))
    return _part(bright.sum(dim=(0, 2)), slices.shape[1]), _part(bright.sum(dim=(0, 1)), slices.shape[2])


def _part(counts: torch.Tensor, length: int) -> slice:
    inside = torch.nonzero(counts > _FEW * counts.max()).flatten()
    if not len(inside):
        return slice(0, length)
    return in_steps(_CELL * int(inside[0]) - _MARGIN, _CELL * (int(inside[-1]) + 1) + _MARGIN, length)
