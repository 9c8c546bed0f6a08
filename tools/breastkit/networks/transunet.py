"""TransUNet after Chen et al. (2021): a transformer between the encoder and the decoder of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate, scaled_dot_product_attention


class StandardizedConv(nn.Conv2d):
    """A convolution whose filters are brought to mean 0 and variance 1 before use."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the convolved maps."""
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        variance = self.weight.var((1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        return conv2d(image, weight, self.bias, self.stride, self.padding)


class SpelledOutGroupNorm(nn.GroupNorm):
    """Group norm in plain steps, because OpenVINO's own crashes the process on a network with many of them.

    Means over the channels of a group are a 1×1 convolution of the channels' means: with reshaped maps an exported
    network would take images of one size alone.

    Args:
        num_groups: groups of channels.
        num_channels: of the maps.
        eps: added to the variance.
    """

    def __init__(self, num_groups: int, num_channels: int, *, eps: float):
        super().__init__(num_groups, num_channels, eps=eps)
        size = num_channels // num_groups
        within = torch.kron(torch.eye(num_groups), torch.full((size, size), 1 / size))
        self.within: torch.Tensor
        self.register_buffer("within", within[:, :, None, None], persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Returns the normalised maps."""
        maps = maps - self._mean(maps)
        scale = torch.rsqrt(self._mean(maps.square()) + self.eps)
        return maps * scale * self.weight[:, None, None] + self.bias[:, None, None]

    def _mean(self, maps: torch.Tensor) -> torch.Tensor:
        return conv2d(maps.mean((2, 3), keepdim=True), self.within)


class Bottleneck(nn.Module):
    """A residual unit of 1×1, 3×3 and 1×1 standardized convolutions with group norm.

    Args:
        in_channels: of its input.
        out_channels: of its output; four times those of the 3×3 convolution.
        stride: of the 3×3 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1):
        super().__init__()
        inner = out_channels // 4
        self.residual = nn.Sequential(
            *_conv_norm(in_channels, inner, 1),
            nn.ReLU(inplace=True),
            *_conv_norm(inner, inner, 3, stride=stride),
            nn.ReLU(inplace=True),
            *_conv_norm(inner, out_channels, 1),
        )
        same = stride == 1 and in_channels == out_channels
        # One group per channel on the way past, as in the published network.
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                StandardizedConv(in_channels, out_channels, 1, stride=stride, bias=False),
                SpelledOutGroupNorm(out_channels, out_channels, eps=1e-5),
            )
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns maps at the size the stride leaves."""
        return torch.relu(self.shortcut(image) + self.residual(image))


class TransformerLayer(nn.Module):
    """Self-attention and a perceptron, each after a layer norm and around a shortcut.

    Args:
        width: of a token.
        perceptron: width inside the perceptron.
        heads: of the attention.
        dropout: share of values dropped.
    """

    def __init__(self, width: int, *, perceptron: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, perceptron),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(perceptron, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Returns as many tokens ``(batch, tokens, width)``."""
        tokens = tokens + self._attention(self.norm1(tokens))
        processed: torch.Tensor = self.perceptron(self.norm2(tokens))
        return tokens + processed

    def _attention(self, tokens: torch.Tensor) -> torch.Tensor:
        parts = self.queries_keys_values(tokens).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        mixed: torch.Tensor = self.out(attended)
        return mixed


class DecoderStage(nn.Sequential):
    """Two 3×3 convolutions with batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(*_conv_batch_relu(in_channels, out_channels), *_conv_batch_relu(out_channels, out_channels))


class TransUNet(nn.Module):
    """A residual network down to a sixteenth, a transformer over what it sees there, and a cascaded decoder with skips.

    The defaults are R50-ViT-B/16. A gray image is given to all channels. Sides of the input must be multiples of 16;
    `AnySize` lifts that. Positions are learnt on a grid of `image_size` / 16 and interpolated for other sizes.

    Args:
        in_channels: what the encoder takes.
        out_channels: channels of the logits.
        image_size: side of the images whose positions are learnt.
        width: channels of the encoder's first convolution; its stages have 4, 8 and 16 times as many.
        units: residual units of the three stages.
        hidden: width of a token.
        layers: of the transformer.
        heads: of its attention.
        perceptron: width inside its perceptrons.
        bridge: channels between transformer and decoder.
        decoder: channels of the four decoder stages, the last at full resolution.
        dropout: share of values dropped in the transformer.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 1,
        image_size: int = 224,
        width: int = 64,
        units: Sequence[int] = (3, 4, 9),
        hidden: int = 768,
        layers: int = 12,
        heads: int = 12,
        perceptron: int = 3072,
        bridge: int = 512,
        decoder: Sequence[int] = (256, 128, 64, 16),
        dropout: float = 0.1,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.stem = nn.Sequential(*_conv_norm(in_channels, width, 7, stride=2), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        widths = [width, *(width * 2**power for power in (2, 3, 4))]
        self.stages = nn.ModuleList(
            nn.Sequential(
                Bottleneck(before, after, stride=1 if number == 0 else 2),
                *(Bottleneck(after, after) for _ in range(count - 1)),
            )
            for number, (before, after, count) in enumerate(zip(widths, widths[1:], units, strict=False))
        )
        self.embed = nn.Conv2d(widths[-1], hidden, 1)
        side = max(1, image_size // 16)
        self.positions = nn.Parameter(torch.zeros(1, hidden, side, side))
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.Sequential(
            *(TransformerLayer(hidden, perceptron=perceptron, heads=heads, dropout=dropout) for _ in range(layers)),
            nn.LayerNorm(hidden, eps=1e-6),
        )
        self.bridge = nn.Sequential(*_conv_batch_relu(hidden, bridge))
        skips = [*reversed(widths[:3]), 0]
        self.decoder = nn.ModuleList(
            DecoderStage(below + skip, channels)
            for below, skip, channels in zip((bridge, *decoder), skips, decoder, strict=False)
        )
        self.output = nn.Conv2d(decoder[-1], out_channels, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits of the size of the image."""
        if image.shape[1] == 1:
            image = image.expand(-1, self.in_channels, -1, -1)
        features, skips = self.stem(image), []
        skips.append(features)
        features = self.pool(features)
        for stage in self.stages:
            features = stage(features)
            skips.append(features)
        features = self.bridge(self._attended(skips.pop()))
        for stage in self.decoder:
            features = interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
            features = stage(torch.cat([features, skips.pop()], dim=1) if skips else features)
        logits: torch.Tensor = self.output(features)
        return logits

    def _attended(self, features: torch.Tensor) -> torch.Tensor:
        features = self.embed(features)
        size = features.shape[-2:]
        positions = interpolate(self.positions, size=size, mode="bilinear", align_corners=False)
        tokens = self.dropout((features + positions).flatten(2).transpose(1, 2))
        attended: torch.Tensor = self.transformer(tokens).transpose(1, 2).unflatten(2, size)
        return attended


def _conv_norm(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    convolution = StandardizedConv(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, SpelledOutGroupNorm(min(32, out_channels // 2), out_channels, eps=1e-6)]


def _conv_batch_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
