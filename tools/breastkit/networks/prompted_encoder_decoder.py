"""A network of segmentation_models_pytorch that looks at what an annotator has pointed at, too."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad

from breastkit.networks.encoder_decoder import EncoderDecoder

# A mark is one pixel of many, and its weights begin at zero: so much stronger it is learnt within an epoch.
_STRENGTH = 4.0


class PromptedEncoderDecoder(EncoderDecoder):
    """An `EncoderDecoder` whose gray image may have planes of prompts behind it, see `breastkit.transforms.prompts`.

    An image that comes alone is one without prompts, so that the network also outlines on its own. Weights of an
    `EncoderDecoder` fit it but for the first convolution, whose further inputs may begin at zero.

    Args:
        network: its encoder takes `channels` and the planes.
        channels: of colour, to all of which the gray image is given.
        planes: of prompts.
    """

    def __init__(self, network: nn.Module, *, channels: int = 3, planes: int = 3):
        super().__init__(network, channels=channels + planes)
        self.colours, self.planes, self.strength = channels, planes, _STRENGTH

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits of the size of the image."""
        missing = 1 + self.planes - image.shape[1]
        image = pad(image, (0, 0, 0, 0, 0, missing))
        gray = image[:, :1].expand(-1, self.colours, -1, -1)
        logits: torch.Tensor = self.network(torch.cat([gray, self.strength * image[:, 1:]], 1))
        return logits
