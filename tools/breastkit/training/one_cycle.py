"""One cycle of the learning rate over a whole run."""

from __future__ import annotations

import math

from ignite.engine import Engine, Events
from torch.optim import Optimizer


class OneCycle:
    """Handler that raises the learning rate by a cosine from a 25th to its peak and lets it fall to next to nothing.

    It is a function of the step alone, so a continued run needs no state, and one whose number of epochs was changed
    takes the place in the new cycle.

    Args:
        optimizer: whose learning rate to set, in all its groups.
        peak: the highest learning rate.
        warmup: share of the run in which it rises.
    """

    def __init__(self, optimizer: Optimizer, *, peak: float, warmup: float = 0.2):
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be a share below 1, got {warmup}")
        self.optimizer, self.peak, self.warmup = optimizer, float(peak), float(warmup)

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Sets the learning rate of a step."""
        steps = (engine.state.max_epochs or 0) * (engine.state.epoch_length or 0)
        rate = self.rate((engine.state.iteration - 1) / max(1, steps - 1))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def rate(self, done: float) -> float:
        """Returns the learning rate when a share of the run is done."""
        if done < self.warmup:
            return self.peak * (1 / 25 + (1 - 1 / 25) * 0.5 * (1 - math.cos(math.pi * done / self.warmup)))
        falling = (done - self.warmup) / (1 - self.warmup)
        return self.peak * (1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * min(1.0, falling))))
