"""Where in a picture the features lie that a class hung on, over all stages of a network at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import interpolate

from breastkit.errors import BreastkitError
from breastkit.explain.grad_cam import last_map_layer

# Maps finer than an eighth of the picture show edges and speckle, wherever they are.
_FINEST = 8
_SIDE = 96


class StageRelevance:
    """Maps of what mattered for a class: the product over a network's stages of |gradient × activation|.

    Like LayerCAM it keeps the gradient of every place, which Grad-CAM averages away, and it counts what spoke against
    the class as well: with two classes, what is benign about a lesion is that it does not look malignant. Fine stages
    know where, coarse ones what; a place counts where all of them agree.

    It works on a copy of the network in evaluation mode, so the network itself gets no hooks and may be trained on.

    Args:
        network: takes pictures (batch, channels, rows, columns), gives logits (batch, classes).
        layers: whose maps are multiplied, by their names in the network; by default those of `stage_layers`.
        against: count what spoke against the class, too; without it, of one layer, this is LayerCAM.

    Raises:
        BreastkitError: if the network has no such layer.
    """

    def __init__(self, network: nn.Module, *, layers: Sequence[str] | None = None, against: bool = True) -> None:
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        self.layers, self.against = list(layers or stage_layers(self._network)), against
        self._maps: list[torch.Tensor] = []
        self._device = next(self._network.parameters()).device
        module: Any
        for module in self._network.modules():
            if getattr(module, "inplace", False):
                # What a hook looks at must not be overwritten.
                module.inplace = False
        for name in self.layers:
            try:
                self._network.get_submodule(name).register_forward_hook(self._keep)
            except AttributeError as error:
                near = last_map_layer(self._network)
                raise BreastkitError(f"The network has no layer '{name}'; '{near}' is one to explain by.") from error

    def __call__(self, image: torch.Tensor, class_index: int) -> NDArray[Any]:
        """Returns a map (rows, columns) of values from 0 to 1, on the grid of the image.

        Args:
            image: one picture as the network takes it, ``(channels, rows, columns)``.
            class_index: the class that is explained.
        """
        batch = torch.as_tensor(np.asarray(image), dtype=torch.float32)[None].to(self._device)
        self._maps = []
        with torch.enable_grad():
            logit = self._network(batch)[0, int(class_index)]
            gradients = torch.autograd.grad(logit, self._maps)
        product = torch.ones(batch.shape[2:], device=self._device)
        for maps, gradient in zip(self._maps, gradients, strict=True):
            evidence = (gradient * maps).abs() if self.against else gradient.clamp(min=0) * maps
            relevance = evidence.sum(1, keepdim=True).clamp(min=0).detach()
            upsampled = interpolate(relevance, size=product.shape, mode="bilinear", align_corners=False)[0, 0]
            product = product * _scaled_to_one(upsampled)
        self._maps = []
        return _scaled_to_one(product).cpu().numpy()

    def _keep(self, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        # Gradients begin at the first of the layers: those of all layers before it would be thrown away.
        kept = output if self._maps else output.detach().requires_grad_()
        self._maps.append(kept)
        return kept


def stage_layers(network: nn.Module) -> list[str]:
    """Returns the stages of a network's features whose maps are an eighth of the picture or less, and the last layer.

    Stages are the parts of the first row of layers (`nn.Sequential`) in ``trunk.features``; of a network without, or
    without such a row, there is the last layer with maps alone.

    Raises:
        BreastkitError: if no layer gives maps.
    """
    last = last_map_layer(network)
    features = dict(network.named_modules()).get("trunk.features")
    if features is None:
        return [last]
    rows = (name for name, part in features.named_modules() if isinstance(part, nn.Sequential) and len(part) > 1)
    row = next(rows, None)
    if row is None:
        return [last]
    sides: dict[str, int] = {}
    names = [f"trunk.features.{row}.{name}" for name, _ in features.get_submodule(row).named_children()]
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: sides.update({name: min(output.shape[2:])})
        )
        for name in names
    ]
    first: Any = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    try:
        with torch.no_grad():
            network(torch.zeros(1, first.in_channels, _SIDE, _SIDE, device=first.weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    stages = [name for name in names if sides[name] <= _SIDE // _FINEST]
    # The last stage of a network that has nothing behind it is its last layer.
    return stages if stages and last.startswith(f"{stages[-1]}.") else [*stages, last]


def _scaled_to_one(maps: torch.Tensor) -> torch.Tensor:
    top = maps.max()
    return maps / top if top > 0 else maps
