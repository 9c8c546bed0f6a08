"""Networks that tell the class of a picture, and the weights they may start from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import timm
import torch
from timm.models import adapt_input_conv
from torch import nn

# A gate this far open lets through 95 % and still learns; the convolution behind it makes up for the rest.
_OPEN = 3.0


class Classifier(nn.Module):
    """Features, their mean over the picture, dropout and one linear layer.

    What lies before the dropout is `trunk`, so that many samples of Monte-Carlo dropout cost one pass through the
    features. Grad-CAM looks at ``trunk.features``.

    Args:
        features: takes pictures, gives maps; names the number of maps ``out_channels``.
        classes: how many classes.
        dropout: share of the mean features that is dropped.
    """

    def __init__(self, features: TimmFeatures | ConvFeatures, *, classes: int, dropout: float = 0.3):
        super().__init__()
        mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.trunk = nn.Sequential(OrderedDict(features=features, mean=mean))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features.out_channels, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits ``(batch, classes)``."""
        logits: torch.Tensor = self.head(self.dropout(self.trunk(image)))
        return logits

    def sampled(self, features: torch.Tensor, *, samples: int, seed: int = 0) -> torch.Tensor:
        """Returns logits ``(batch, samples, classes)`` with the dropout on, the same for the same features.

        Args:
            features: of the trunk, ``(batch, features)``.
            samples: how many.
            seed: of what is dropped.
        """
        keep = 1 - self.dropout.p
        generator = torch.Generator().manual_seed(seed)
        # One set of masks for all pictures, so that a picture's samples do not depend on its place in a batch.
        kept = torch.rand(samples, features.shape[1], generator=generator).to(features) < keep
        logits: torch.Tensor = self.head(features[:, None] * (kept / keep))
        return logits


class TimmFeatures(nn.Module):
    """The feature maps of one of timm's networks, for gray pictures too.

    Args:
        name: timm's name of the network, such as ``tf_efficientnet_b0``.
        in_channels: what it takes; a gray picture is given to all of them.
        activation: another activation than the network's own, by timm's name, such as ``relu6``.
    """

    def __init__(self, name: str, *, in_channels: int = 3, activation: str | None = None):
        super().__init__()
        options: dict[str, Any] = {"act_layer": activation} if activation else {}
        model: Any = timm.create_model(name, in_chans=in_channels, num_classes=0, global_pool="", **options)
        self.name, self.in_channels, self.activation = name, in_channels, activation
        self.model, self.out_channels = model, int(model.num_features)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns feature maps."""
        if image.shape[1] == 1:
            image = image.expand(-1, self.in_channels, -1, -1)
        maps: torch.Tensor = self.model(image)
        return maps

    def start_of(self, state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str]:
        """Returns weights that fit this network out of those of another, where there is a way, and what they are.

        The first convolution is fitted to the number of channels. EfficientNet-Lite0 is EfficientNet-B0 with ReLU6 and
        without squeeze-and-excitation: a B0 takes its convolutions over and gets open gates, which makes one with ReLU6
        compute just what Lite0 does.

        Args:
            state: weights under timm's names.
        """
        own, state, origin = self.model.state_dict(), dict(state), self.name
        gates = [name.removesuffix(".se.conv_expand.bias") for name in own if name.endswith(".se.conv_expand.bias")]
        if self.name.endswith("efficientnet_b0") and not any(".se." in name for name in state):
            origin = "EfficientNet-Lite0, whose convolutions an EfficientNet-B0 with open gates takes over"
            for block in gates:
                _open_gate(block, own, state)
        stem = next(iter(own))
        if stem in state and state[stem].shape[1:2] == (3,):
            state[stem] = adapt_input_conv(self.in_channels, state[stem])
        return state, origin


class ConvFeatures(nn.Module):
    """A small network's feature maps: stages of two 3×3 convolutions with batch norm and ReLU, each at half the size.

    Args:
        in_channels: channels of the picture.
        channels: of the stages.
    """

    def __init__(self, *, in_channels: int = 2, channels: Sequence[int] = (24, 48, 96, 192)):
        super().__init__()
        stages = [
            nn.Sequential(_convolution(before, after, stride=2), _convolution(after, after))
            for before, after in pairwise((in_channels, *channels))
        ]
        self.stages = nn.Sequential(*stages)
        self.out_channels = channels[-1]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns feature maps."""
        maps: torch.Tensor = self.stages(image)
        return maps


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _open_gate(block: str, own: Mapping[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    for name in ("conv_reduce.weight", "conv_reduce.bias"):
        state[f"{block}.se.{name}"] = own[f"{block}.se.{name}"]
    state[f"{block}.se.conv_expand.weight"] = torch.zeros_like(own[f"{block}.se.conv_expand.weight"])
    bias = torch.full_like(own[f"{block}.se.conv_expand.bias"], _OPEN)
    state[f"{block}.se.conv_expand.bias"] = bias
    # The convolution behind the gate: the last one of an inverted residual block, the second of a separable one.
    behind = next(f"{block}.{name}.weight" for name in ("conv_pwl", "conv_pw") if f"{block}.{name}.weight" in own)
    if behind in state:
        state[behind] = state[behind] / torch.sigmoid(bias[0])
