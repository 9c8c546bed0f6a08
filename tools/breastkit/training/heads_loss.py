"""One loss over all outputs of a network with deep supervision."""

from __future__ import annotations

from typing import cast

import torch
from monai.losses import DeepSupervisionLoss
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.loss import _Loss


class HeadsLoss(DeepSupervisionLoss):
    """MONAI's `DeepSupervisionLoss` with equal weights, which also judges what a network says of the whole image.

    An output of size 1×1 answers whether the image holds any target and gets binary cross-entropy; all others get
    `loss` at their own size. Of a network that gives a single tensor it is that loss.

    Args:
        loss: of logits and truth.
    """

    def __init__(self, loss: torch.nn.Module) -> None:
        # MONAI asks for a class of torch here, and calls whatever it is given.
        super().__init__(cast(_Loss, loss), weight_mode="same")

    def get_loss(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Returns the loss of one output."""
        if input.shape[2:].numel() == 1 < target.shape[2:].numel():
            return binary_cross_entropy_with_logits(input.float(), target.to(input).amax((2, 3), keepdim=True).float())
        return super().get_loss(input, target)
