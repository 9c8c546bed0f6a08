"""One network that outlines what is in a picture and answers questions about the whole of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn
from torch.nn.functional import avg_pool2d

_STRIDE = 32


class MultiTask(nn.Module):
    """A U-Net whose encoder goes one stage deeper than its decoder looks, for heads that answer for the picture.

    The heads look at the deepest maps twice: at their mean over the picture, and at their mean over what the network
    outlines itself, so that what it says of a lesion is taken from the lesion. Their logits stand in every pixel of
    further channels behind that of the outline: what pads, mirrors, averages and exports a segmentation network then
    does so with this one.

    Encoder, decoder and outline are those of `segmentation_models_pytorch.Unet` and have its names, so that its weights
    fit them.

    Args:
        encoder_name: an encoder of segmentation_models_pytorch with five stages.
        decoder_channels: of the decoder's four blocks.
        heads: questions about the whole picture.
        dropout: share of the features that the heads do without in training.
    """

    def __init__(
        self,
        *,
        encoder_name: str = "tu-tf_efficientnet_lite0",
        decoder_channels: Sequence[int] = (64, 40, 24, 16),
        heads: int = 2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.encoder = get_encoder(encoder_name, depth=5, weights=None)
        *seen, deepest = self.encoder.out_channels
        self.decoder = UnetDecoder(seen, decoder_channels, n_blocks=len(decoder_channels))
        self.segmentation_head = SegmentationHead(decoder_channels[-1], 1, kernel_size=3)
        self.heads = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * deepest, heads))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits of the size of the image: of the outline, and of every head."""
        *seen, deepest = self.encoder(image)
        outline = self.segmentation_head(self.decoder(seen))
        # The heads learn from where the outline lies, and must not move it.
        inside = avg_pool2d(torch.sigmoid(outline.detach()), _STRIDE)
        over_outline = (deepest * inside).sum((2, 3)) / (inside.sum((2, 3)) + 1e-3)
        answers = self.heads(torch.cat([deepest.mean((2, 3)), over_outline], 1))
        planes = answers[:, :, None, None].expand(-1, -1, outline.shape[2], outline.shape[3])
        return torch.cat([outline, planes], 1)
