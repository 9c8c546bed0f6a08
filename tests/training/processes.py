"""What the tests of several processes put into a run to look at it from within."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn

from breastkit.networks import AnySize, SpatialDropoutUNet


def frozen_network() -> nn.Module:
    """A small network without dropout whose batch norm keeps its statistics even in training."""
    torch.manual_seed(0)
    network = SpatialDropoutUNet(encoder=(4, 8), bottleneck=8, decoder=(8, 4), dropout=0.0, bottleneck_dropout=0.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda norm, _inputs: norm.eval() and None)
    return AnySize(network, multiple=4)


class Witness:
    """Handler that writes down which slices each process trained on in every epoch."""

    def __init__(self, folder: str):
        self.path = Path(folder) / f"seen-{idist.get_rank()}.json"
        self.seen = defaultdict(list)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(Events.COMPLETED, lambda: self.path.write_text(json.dumps(self.seen)))

    def note(self, engine: Engine) -> None:
        batch = engine.state.batch
        self.seen[engine.state.epoch] += zip(batch["case"].tolist(), batch["slice"].tolist(), strict=True)


def report(folder: str, network: nn.Module, average: nn.Module) -> None:
    """Writes what this process ended with."""
    states = {"network": network.state_dict(), "average": average.state_dict()}
    torch.save(states, Path(folder) / f"report-{idist.get_rank()}.pt")
