"""Dice of a whole batch, whoever holds its images."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from torch import nn
from torch.distributed.nn import functional as distributed


class BatchDiceLoss(nn.Module):
    """One minus the soft Dice over all pixels of a batch, on sigmoid outputs.

    A slice without any breast has no Dice of its own to learn from: whatever is predicted there costs the same. Over a
    batch every wrong pixel counts, in whichever slice. The sums are taken over all processes, so that a step and a
    validation are those of one process with the whole batch.

    Args:
        smooth: added to both sides of the fraction, in pixels; what a batch without any target is judged by.
    """

    def __init__(self, *, smooth: float = 1.0):
        super().__init__()
        self.smooth = smooth

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch of logits and its masks, of one shape.

        Raises:
            ValueError: if the shapes differ.
        """
        if logits.shape != target.shape:
            raise ValueError(f"logits have shape {tuple(logits.shape)} but masks {tuple(target.shape)}")
        probability = torch.sigmoid(logits.float())
        sums = torch.stack([(probability * target).sum(), probability.sum() + target.sum()])
        if idist.get_world_size() > 1:
            # Unlike torch.distributed's own, this one hands gradients back to every process.
            sums = distributed.all_reduce(sums)
        return 1 - (2 * sums[0] + self.smooth) / (sums[1] + self.smooth)
