"""A running average of the weights, which generalises better than the weights of any one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel

from breastkit.training.checkpoint import keep_state
from breastkit.training.distributed import sum_over_processes

_Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class WeightAverage:
    """Handler that keeps an exponential moving average of weights and batch norm statistics in a second network.

    The average is as short as the run is young, so that it does not remember the random start. Validate and save
    `average`; it is part of the checkpoint. Of several processes each sees other images, so their batch norm
    statistics differ; after every epoch they take the mean of them, or they would validate, and end with, different
    networks.

    Args:
        network: the network that learns, not its distributed wrapper.
        average: a copy of it, which gets the averaged weights.
        decay: share of the average that stays at each step.
    """

    def __init__(self, network: nn.Module, average: nn.Module, *, decay: float = 0.99):
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")
        self.decay, self.source = decay, network
        self._average = AveragedModel(nn.Identity(), multi_avg_fn=self._blend, use_buffers=True)
        self._average.module = average

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer; must stand before the validation."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.share_buffers)
        keep_state(engine, "weight_average", self)

    def __call__(self, engine: Engine) -> None:
        """Takes the weights of a step in."""
        self._average.update_parameters(self.source)

    def share_buffers(self) -> None:
        """Gives all processes the mean of their floating-point buffers; counters are the same everywhere already."""
        processes = idist.get_world_size()
        for network in (self.source, self._average.module) if processes > 1 else ():
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(sum_over_processes(buffer.clone()) / processes)

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the averaged weights and how many steps they stand for."""
        return self._average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the average up again."""
        self._average.load_state_dict(state)

    @torch.no_grad()
    def _blend(self, averages: _Tensors, weights: _Tensors, steps: torch.Tensor | int) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, weights)
            return
        decay = min(self.decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(averages, weights, 1 - decay)
