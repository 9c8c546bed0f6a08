"""The 2D U-Net of the breast tissue stage: spatial dropout throughout, stronger at the bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class DoubleConv(nn.Sequential):
    """Two 3×3 convolutions, each with batch norm and ReLU; whole channels are dropped between them."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class SpatialDropoutUNet(nn.Module):
    """U-Net with batch norm and `Dropout2d`: max-pooling down, bilinear upsampling with skips, 1×1 output.

    Sides of the input must be multiples of two to the number of encoder stages; `AnySize` lifts that.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        encoder: channels of the encoder stages, the first at full resolution, each next at half.
        bottleneck: channels below the last encoder stage.
        decoder: channels of the decoder stages, as many as encoder stages, the last at full resolution.
        dropout: share of channels dropped in every encoder and decoder stage.
        bottleneck_dropout: share of channels dropped in the bottleneck.

    Raises:
        ValueError: if encoder and decoder differ in length.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        encoder: Sequence[int] = (64, 128, 256, 512),
        bottleneck: int = 512,
        decoder: Sequence[int] = (256, 128, 64, 64),
        dropout: float = 0.1,
        bottleneck_dropout: float = 0.3,
    ):
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(f"encoder and decoder need as many stages, got {len(encoder)} and {len(decoder)}")
        self.encoder = nn.ModuleList(
            DoubleConv(wide, narrow, dropout=dropout) for wide, narrow in pairwise((in_channels, *encoder))
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = DoubleConv(encoder[-1], bottleneck, dropout=bottleneck_dropout)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.decoder = nn.ModuleList(
            DoubleConv(below + skip, channels, dropout=dropout)
            for below, skip, channels in zip((bottleneck, *decoder), reversed(encoder), decoder, strict=False)
        )
        self.output = nn.Conv2d(decoder[-1], out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits of the size of the image."""
        features, skips = image, []
        for stage in self.encoder:
            features = stage(features)
            skips.append(features)
            features = self.pool(features)
        features = self.bottleneck(features)
        for stage in self.decoder:
            features = stage(torch.cat([self.upsample(features), skips.pop()], dim=1))
        logits: torch.Tensor = self.output(features)
        return logits
