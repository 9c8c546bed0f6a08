"""Dice and binary cross-entropy in one loss."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits


class DiceBCELoss(nn.Module):
    """L = 1 − (2|P∩G| + ε) / (|P| + |G| + ε) + λ·BCE, the mean over the images of a batch.

    P are the probabilities, G the truth. ε decides what an image without a lesion teaches: the smaller it is, the more
    a few false pixels cost.

    Args:
        bce_weight: λ.
        epsilon: ε, in pixels.
    """

    def __init__(self, *, bce_weight: float = 1.0, epsilon: float = 1.0):
        super().__init__()
        if bce_weight < 0 or epsilon <= 0:
            raise ValueError(f"bce_weight must not be negative and epsilon above 0, got {bce_weight} and {epsilon}")
        self.bce_weight, self.epsilon = float(bce_weight), float(epsilon)

    def forward(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Returns the loss of logits and truth ``(batch, channel, …)``."""
        truth = truth.to(logits)
        probabilities, flat = logits.sigmoid().flatten(1), truth.flatten(1)
        overlap = (probabilities * flat).sum(1)
        dice = (2 * overlap + self.epsilon) / (probabilities.sum(1) + flat.sum(1) + self.epsilon)
        return 1 - dice.mean() + self.bce_weight * binary_cross_entropy_with_logits(logits, truth)
