"""Networks of other libraries as traces, where `torch.jit.script` cannot compile them."""

from __future__ import annotations

import warnings

import torch
from torch import nn

# Both sides are multiples of all strides in use, and the deepest maps are larger than one pixel.
_SIDE = 64


def traced(network: nn.Module, *, channels: int) -> torch.jit.ScriptModule:
    """Returns a trace of a network, which may stand inside a module that is scripted.

    A trace holds what happened to one picture. It computes others, of any size and number, as long as the network does
    not choose its way by them; the contracts of networks and bundles check it.

    Args:
        network: takes pictures; is traced as it stands, so put it into evaluation first.
        channels: of the pictures.
    """
    parameter = next(network.parameters())
    picture = torch.zeros(1, channels, _SIDE, _SIDE, device=parameter.device, dtype=parameter.dtype)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        trace: torch.jit.ScriptModule = torch.jit.trace(network, picture)
    return trace
