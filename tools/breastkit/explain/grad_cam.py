"""Grad-CAM++: how much every place of a picture spoke for a class."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from monai.visualize import GradCAMpp
from numpy.typing import NDArray
from torch import nn

from breastkit.errors import BreastkitError


class GradCamPlusPlus:
    """Maps of what a classifier looked at, by MONAI's `GradCAMpp`.

    It works on a copy of the network in evaluation mode, so the network itself gets no hooks and may be trained on.

    Args:
        network: takes pictures (batch, channels, rows, columns), gives logits (batch, classes).
        layer: the layer whose maps are weighed, by its name in the network; by default the last one that gives maps.

    Raises:
        BreastkitError: if the network has no such layer.
    """

    def __init__(self, network: nn.Module, *, layer: str | None = None) -> None:
        network = copy.deepcopy(network).eval()
        self.layer = layer or last_map_layer(network)
        try:
            explained = network.get_submodule(self.layer)
        except AttributeError as error:
            near = last_map_layer(network)
            raise BreastkitError(f"The network has no layer '{self.layer}'; '{near}' is one to explain by.") from error
        module: Any
        for module in network.modules():
            if getattr(module, "inplace", False):
                # What a hook looks at must not be overwritten.
                module.inplace = False
        # Gradients begin behind this layer: those of all layers before it would be thrown away.
        network.requires_grad_(False)
        probe = nn.Identity()
        probe.register_forward_pre_hook(lambda _, maps: maps[0].detach().requires_grad_())
        network.set_submodule(self.layer, nn.Sequential(explained, probe))
        self._device = next(network.parameters()).device
        self._cam = GradCAMpp(
            nn_module=_CentredLogits(network),
            target_layers=f"network.{self.layer}.1",
            # MONAI's own would make what matters most the smallest.
            postprocessing=_scaled_to_one,
        )

    def __call__(self, image: torch.Tensor, class_index: int) -> NDArray[Any]:
        """Returns a map (rows, columns) of values from 0 to 1, on the grid of the image.

        Args:
            image: one picture as the network takes it, ``(channels, rows, columns)``.
            class_index: the class that is explained.
        """
        # One by one: MONAI's weights are of one score. A plain tensor: metadata would cost more than the network.
        batch = torch.as_tensor(np.asarray(image), dtype=torch.float32)[None].to(self._device)
        with torch.enable_grad():
            relevance: torch.Tensor = self._cam(batch, class_idx=int(class_index))[0, 0]
        return relevance.detach().cpu().numpy()


class _CentredLogits(nn.Module):
    """Gives logits less themselves: zero, with their gradients.

    Grad-CAM++ takes the exponential of the score, which is infinite for a large one and zero for a very negative one.
    It is a common factor of all weights, and the map is scaled to one afterwards, so any score will do.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(image)
        return logits - logits.detach()


def last_map_layer(network: nn.Module) -> str:
    """Returns the name of the last layer, in the order in which they work, that gives maps and not single values.

    Raises:
        BreastkitError: if no layer gives maps.
    """
    found: list[str] = []
    hooks = [
        module.register_forward_hook(
            lambda _, __, output, name=name: (
                found.append(name) if getattr(output, "ndim", 0) == 4 and min(output.shape[2:]) > 1 else None
            )
        )
        for name, module in network.named_modules()
        if name and not list(module.children()) and not isinstance(module, nn.Identity)
    ]
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    try:
        if first is not None:
            with torch.no_grad():
                network(torch.zeros(1, first.in_channels, 96, 96, device=first.weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise BreastkitError("The network has no layer that gives maps; Grad-CAM++ explains convolutional networks.")
    return found[-1]


def share_inside(relevance: NDArray[Any], mask: NDArray[Any]) -> float:
    """Returns which share of a map lies inside a mask; NaN where the map or the mask is empty."""
    mask = np.asarray(mask) > 0
    total = float(np.asarray(relevance).sum(dtype=np.float64))
    if total <= 0 or not mask.any():
        return float("nan")
    return float(np.asarray(relevance)[mask].sum(dtype=np.float64)) / total


def _scaled_to_one(maps: torch.Tensor) -> torch.Tensor:
    top = maps.amax(dim=(-2, -1), keepdim=True)
    return maps / torch.where(top > 0, top, torch.ones_like(top))
