"""UNet 3+ after Huang et al. (ICASSP 2020): every decoder stage sees every scale."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import interpolate, max_pool2d


class ConvNormReLU(nn.Sequential):
    """A 3×3 convolution with batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class FullScaleStage(nn.Module):
    """One decoder stage: all stages brought to its size and to equally many channels, joined and convolved.

    Args:
        in_channels: of what it is given, from the finest to the coarsest.
        channels: what each of them is brought to.
        stage: its number from the finest, 0.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int, stage: int):
        super().__init__()
        self.stage = stage
        self.branches = nn.ModuleList(ConvNormReLU(wide, channels) for wide in in_channels)
        self.fuse = ConvNormReLU(len(in_channels) * channels, len(in_channels) * channels)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Returns the features of this stage, given those of all."""
        joined = []
        for other, branch in enumerate(self.branches):
            maps = features[other]
            if other < self.stage:
                maps = max_pool2d(maps, 1 << (self.stage - other))
            elif other > self.stage:
                scale = float(1 << (other - self.stage))
                maps = interpolate(maps, scale_factor=scale, mode="bilinear", align_corners=False)
            joined.append(branch(maps))
        fused: torch.Tensor = self.fuse(torch.cat(joined, dim=1))
        return fused


class UNet3Plus(nn.Module):
    """U-Net with full-scale skips, deep supervision and a classification-guided module.

    In training it gives a list: the logits of every decoder stage and of the bottom, all at the size of the image, the
    finest first, and last, of size 1×1, the logit of "this image holds a target at all". In evaluation it gives one
    map, the finest, whose probability is multiplied with that of the image holding anything. The paper multiplies by a
    hard yes or no; the product of probabilities leaves the choice to the threshold. `HeadsLoss` judges the list.

    Sides of the input must be multiples of two to the number of encoder stages less one; `AnySize` lifts that.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        channels: of the encoder stages, the first at full resolution, each next at half.
        skip_channels: what each scale is brought to in a decoder stage.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        skip_channels: int = 64,
    ):
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Sequential(ConvNormReLU(wide, narrow), ConvNormReLU(narrow, narrow))
            for wide, narrow in pairwise((in_channels, *channels))
        )
        stages, decoded = len(channels) - 1, len(channels) * skip_channels
        # Of the coarser stages it sees what was decoded, except at the bottom, where nothing is.
        self.decoder = nn.ModuleList(
            FullScaleStage(
                [*channels[: stage + 1], *[decoded] * (stages - stage - 1), channels[-1]],
                channels=skip_channels,
                stage=stage,
            )
            for stage in range(stages)
        )
        widths = [decoded] * stages + [channels[-1]]
        self.heads = nn.ModuleList(nn.Conv2d(width, out_channels, 3, padding=1) for width in widths)
        self.guide = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(channels[-1], out_channels, 1), nn.AdaptiveMaxPool2d(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Returns logits of the size of the image; in training the list of all outputs."""
        features, maps = image, []
        for number, stage in enumerate(self.encoder):
            features = stage(max_pool2d(features, 2) if number > 0 else features)
            maps.append(features)
        # TorchScript neither reverses a list of modules nor takes one of them by its number.
        for number in range(len(self.decoder) - 1, -1, -1):
            for decoder in self.decoder:
                if decoder.stage == number:
                    maps[number] = decoder(maps)
        finest = self.heads[0](maps[0])
        holds_any = self.guide(features)
        if not self.training:
            return both_logit(finest, holds_any)
        outputs = [finest]
        for number, head in enumerate(self.heads):
            if number > 0:
                logits, scale = head(maps[number]), float(1 << number)
                outputs.append(interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=False))
        outputs.append(holds_any)
        return outputs


def both_logit(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Returns the logit of the product of two probabilities, given as logits that broadcast, without overflow."""
    # p q / (1 - p q) = 1 / (e^-a + e^-b + e^-(a + b)), of which the largest term is taken out of the sum.
    first, second = torch.broadcast_tensors(first, second)
    terms = torch.stack([-first, -second, -first - second])
    largest = terms.amax(0)
    return -(largest + (terms - largest).exp().sum(0).log())
