"""Networks of segmentation_models_pytorch for gray images and for batches of one."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from breastkit.networks.traced import traced


class EncoderDecoder(nn.Module):
    """A network of segmentation_models_pytorch that takes gray images and trains on a single one.

    Encoders are made for three channels, and weights trained on colour fit no others: a gray image is given to all
    three. Stages of the encoder that the decoder does not look at are left out, which timm does for some encoders only.
    Where a batch leaves batch norm one value per channel, as a single image does in the pooled branch of
    DeepLabV3, it normalises by its running statistics instead of failing.

    Args:
        network: a network with an ``encoder``, for instance `segmentation_models_pytorch.Unet`.
        channels: what its encoder takes.
    """

    def __init__(self, network: nn.Module, *, channels: int = 3):
        super().__init__()
        _drop_unused_stages(network)
        _make_norms_lenient(network)
        self.network = network
        self.channels = channels

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits of the size of the image."""
        if image.shape[1] == 1:
            image = image.expand(-1, self.channels, -1, -1)
        logits: torch.Tensor = self.network(image)
        return logits

    def __prepare_scriptable__(self) -> EncoderDecoder:
        """Returns what `torch.jit.script` compiles: it takes neither the decoder of U-Net++ nor the norms' hooks."""
        scriptable = copy.deepcopy(self).eval()
        scriptable.network = traced(scriptable.network, channels=self.channels)
        return scriptable


def _drop_unused_stages(network: nn.Module) -> None:
    model: Any = getattr(getattr(network, "encoder", None), "model", None)
    blocks, features = getattr(model, "blocks", None), getattr(model, "feature_info", None)
    if isinstance(blocks, nn.Sequential) and features is not None:
        # Of timm's EfficientNets. Stage 0 is the stem; stage i is the block of index i - 1.
        model.blocks = blocks[: max(info["stage"] for info in features.get_dicts())]


def _make_norms_lenient(network: nn.Module) -> None:
    for module in network.modules():
        # timm has batch norms of its own, which derive from torch's.
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(_leave_training)
            module.register_forward_hook(_train_again, always_call=True)


def _leave_training(norm: Any, inputs: tuple[torch.Tensor]) -> None:
    if norm.training and inputs[0].numel() == inputs[0].shape[1]:
        norm.training, norm.paused = False, True


def _train_again(norm: Any, *_: object) -> None:
    if getattr(norm, "paused", False):
        norm.training, norm.paused = True, False
