"""Random numbers that depend on the epoch alone, so that a continued run draws what an unbroken one would have."""

from __future__ import annotations

import random
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

from breastkit.seeding import generator


class EpochSeeds:
    """Handler that seeds shuffling, augmentation and dropout from (seed, epoch, process) when an epoch starts.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seeds everything that draws in this epoch."""
        loader: Any = engine.state.dataloader
        epoch = engine.state.epoch
        seed = int(generator(self.seed, "epoch", epoch, idist.get_rank()).integers(2**31))
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        # Without worker processes MONAI seeds the transforms once, when the loader is made.
        set_rnd(loader.dataset, seed)
        for part in (loader.dataset, loader.batch_sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)
