"""Networks of segmentation_models_pytorch for gray images and for batches of one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class EncoderDecoder(nn.Module):
    """A network of segmentation_models_pytorch that takes gray images and trains on a single one.

    Encoders are made for three channels, and weights trained on colour fit no others: a gray image is given to all
    three. Where a batch leaves batch norm one value per channel, as a single image does in the pooled branch of
    DeepLabV3, it normalises by its running statistics instead of failing.

    Args:
        network: a network with an ``encoder``, for instance `segmentation_models_pytorch.Unet`.
        channels: what its encoder takes.
    """

    def __init__(self, network: nn.Module, *, channels: int = 3):
        super().__init__()
        self.network = _with_lenient_norms(network)
        self.channels = channels

    @property
    def encoder(self) -> nn.Module:
        """The encoder."""
        return self.network.encoder

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits of the size of the image."""
        if image.shape[1] == 1:
            image = image.expand(-1, self.channels, -1, -1)
        return self.network(image)


class LenientBatchNorm(nn.BatchNorm2d):
    """Batch norm that falls back on its running statistics where one value per channel has none of its own."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns normalised features."""
        if self.training and features.numel() == features.shape[1]:
            statistics = self.running_mean, self.running_var
            return functional.batch_norm(features, *statistics, self.weight, self.bias, eps=self.eps)
        return super().forward(features)


def _with_lenient_norms(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            norm = LenientBatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
            norm.load_state_dict(child.state_dict())
            setattr(module, name, norm)
        else:
            _with_lenient_norms(child)
    return module
