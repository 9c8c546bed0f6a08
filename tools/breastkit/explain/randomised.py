"""A sanity check of explanations: a map that does not change when the weights are random explains nothing.

After Adebayo and others, Sanity Checks for Saliency Maps (NeurIPS 2018): weights are made random layer by layer from
the output down, and the maps of every stage are compared with those of the trained network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class Cascade:
    """One stage of the check.

    Attributes:
        share: share of the layers, from the output down, whose weights are random.
        network: a copy of the network with these.
    """

    share: float
    network: nn.Module


def randomise_from_the_top(
    network: nn.Module, images: torch.Tensor, *, stages: int = 6, seed: int = 0
) -> Iterator[Cascade]:
    """Yields copies of a network with more and more of its layers made random, from the output down to all of them.

    Random weights give features of another size than the trained ones; batch norm measures its statistics anew on the
    images, since maps of all zeros or infinities would differ for that reason alone.

    Args:
        network: the trained network.
        images: pictures (batch, channels, rows, columns) to measure the statistics on.
        stages: how many.
        seed: of the random weights.
    """
    names = [name for name, module in network.named_modules() if hasattr(module, "reset_parameters")]
    for stage in range(1, stages + 1):
        count = max(1, round(len(names) * stage / stages))
        changed = copy.deepcopy(network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name in reversed(names[-count:]):
                layer: Any = changed.get_submodule(name)
                layer.reset_parameters()
        _measure_statistics(changed, images)
        yield Cascade(count / len(names), changed.eval())


def map_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Returns the rank correlation (Spearman) of two maps; 0 where one of them is the same everywhere."""
    from scipy.stats import spearmanr

    first, second = np.ravel(first), np.ravel(second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _measure_statistics(network: nn.Module, images: torch.Tensor) -> None:
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        # Without a momentum the statistics are those of all that was seen.
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        network(images)
