"""A convolution that turns features into logits."""

from __future__ import annotations

import torch
from torch import nn


class LogitHead(nn.Module):
    """Makes logits of a network's feature maps: ReLU, then a 1×1 convolution.

    MONAI's residual `UNet` ends in as many normalised maps as it has output channels. With a single one the scale of
    the logits must come through one factor of the norm, and training takes many times the steps; with several maps and
    this head it does not.

    Args:
        network: a 2D network that gives feature maps.
        features: how many.
        out_channels: channels of the logits.
    """

    def __init__(self, network: nn.Module, *, features: int, out_channels: int = 1):
        super().__init__()
        self.network = network
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(features, out_channels, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits of the rows and columns of the network's features."""
        logits: torch.Tensor = self.head(self.network(image))
        return logits
