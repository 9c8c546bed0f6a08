"""What a segmentation network makes of an image as a whole: its deepest feature maps, averaged over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def deepest_features(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs a network and returns its output and, of every image, the channel means of its deepest feature maps.

    The deepest maps are those with the fewest pixels, but more than one, which is where an encoder ends whatever the
    network is called. Of several, the last to be computed counts.

    Args:
        network: takes and gives ``(batch, channels, rows, columns)``.
        images: a batch.

    Raises:
        ValueError: if it makes no feature map smaller than the image.
    """
    import torch

    found: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, torch.Tensor) or output.dim() != 4:
            return
        pixels = output.shape[-2] * output.shape[-1]
        if pixels > 1 and (not found or pixels <= found[0].shape[-2] * found[0].shape[-1]):
            found[:] = [output]

    hooks = [module.register_forward_hook(keep) for module in network.modules()]
    try:
        with torch.no_grad():
            output = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not found or found[0].shape[-2:] == images.shape[-2:]:
        raise ValueError("the network makes no feature map smaller than its image")
    return output, found[0].mean(dim=(-2, -1))
