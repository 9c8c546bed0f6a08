"""The handlers that every training has, in the order they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ignite.engine import Engine
from monai.engines import Evaluator
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import _LRScheduler

from breastkit.training.best_weights import BestWeights
from breastkit.training.checkpoint import Checkpoint
from breastkit.training.curves import Curves
from breastkit.training.early_stopping import EarlyStopping
from breastkit.training.epoch_seeds import EpochSeeds
from breastkit.training.one_cycle import OneCycle
from breastkit.training.run_folder import RunFolder
from breastkit.training.weight_average import WeightAverage


class TrainingHandlers:
    """Handler that attaches those of every training: seeds, learning rate, averages, validation, weights, checkpoint.

    Further handlers stand before it in a trainer's list, or are added behind it: ``"+train#handlers": [...]``.

    Args:
        run: the run, whose folder takes weights, curves and checkpoint.
        network: that is trained, not its distributed wrapper.
        average: a copy of it that holds the running mean of its weights, which is validated and kept.
        optimizer: of the network.
        evaluator: the engine that validates.
        seed: the run's seed.
        interval: epochs from one validation to the next.
        peak: the highest learning rate of one cycle over the run.
        lr_scheduler: a scheduler that is stepped every epoch instead.
        patience: validations without improvement after which training stops; none by default.
        metric: the figure of the evaluator that decides.
        mode: whether smaller or larger is better, see `BestWeights`.
        facts: what ``model.json`` says besides.
    """

    def __init__(
        self,
        *,
        run: RunFolder,
        network: nn.Module,
        average: nn.Module,
        optimizer: Optimizer,
        evaluator: Evaluator,
        seed: int,
        interval: int = 1,
        peak: float | None = None,
        lr_scheduler: _LRScheduler | None = None,
        patience: int | None = None,
        metric: str = "val_loss",
        mode: Literal["min", "max", "last"] = "min",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        parts: dict[str, Any] = {"network": network, "optimizer": optimizer}
        handlers: list[Any] = [EpochSeeds(seed)]
        if peak is not None:
            handlers.append(OneCycle(optimizer, peak=peak))
        handlers.append(WeightAverage(network, average))
        handlers.append(ValidationHandler(interval=interval, validator=evaluator))
        handlers.append(BestWeights(run, average, evaluator, metric=metric, mode=mode, facts=facts))
        if patience is not None:
            better: Literal["min", "max"] = "max" if mode == "max" else "min"
            handlers.append(EarlyStopping(evaluator, patience=patience, metric=metric, mode=better))
        handlers.append(Curves(run.path, evaluator))
        if lr_scheduler is not None:
            handlers.append(LrScheduleHandler(lr_scheduler, print_lr=False))
            parts["lr_scheduler"] = lr_scheduler
        self.handlers = (*handlers, Checkpoint(run.path, parts))

    def attach(self, engine: Engine) -> None:
        """Attaches all of them to a trainer."""
        for handler in self.handlers:
            handler.attach(engine)
