"""One wrapper that lets a network take images of any size."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional


class AnySize(nn.Module):
    """Pads images at the bottom and right to a multiple of what the network needs and crops its output back.

    The border is repeated, because a dark frame would look like an edge to the network. Traced and exported models keep
    the padding, so they take any size too.

    Args:
        network: a 2D network whose output has the size of its input; where it gives a list, as one with deep
            supervision does in training, every map of it is cropped.
        multiple: sides the network takes are multiples of this.
    """

    def __init__(self, network: nn.Module, *, multiple: int):
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Returns the network's output, cropped to the size of the image."""
        rows, columns = image.shape[-2:]
        down, right = -rows % self.multiple, -columns % self.multiple
        # A trace must hold the padding whatever the size of its example; otherwise copying a fitting image is waste.
        fits = not torch.jit.is_tracing() and not down and not right
        padded = image if fits else functional.pad(image, (0, right, 0, down), mode="replicate")
        output: torch.Tensor | list[torch.Tensor] = self.network(padded)
        if fits:
            return output
        if isinstance(output, list):
            return [maps[..., :rows, :columns] for maps in output]
        return output[..., :rows, :columns]

    def __prepare_scriptable__(self) -> AnySize:
        """Returns a copy for `torch.jit.script`, which puts what it compiles into the place of the inner network."""
        return copy.deepcopy(self)
