"""The handlers that every training has, in the order they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import _LRScheduler

from breastkit.training.best_weights import BestWeights
from breastkit.training.checkpoint import Checkpoint
from breastkit.training.curves import Curves
from breastkit.training.early_stopping import EarlyStopping
from breastkit.training.epoch_seeds import EpochSeeds
from breastkit.training.one_cycle import OneCycle
from breastkit.training.run_folder import RunFolder
from breastkit.training.weight_average import WeightAverage


@dataclass(kw_only=True, eq=False)
class TrainingHandlers:
    """Handler that attaches those of every training: seeds, learning rate, averages, validation, weights, checkpoint.

    Further handlers stand before it in a trainer's list, or are added behind it: ``"+train#handlers": [...]``.

    Args:
        run: the run, whose folder takes weights, curves and checkpoint.
        evaluator: the engine that validates. Its network is a copy of the one that learns: it holds the running mean of
            the weights, and is what is kept.
        seed: the run's seed.
        interval: epochs from one validation to the next.
        peak: the highest learning rate of one cycle over the run.
        lr_scheduler: a scheduler that is stepped every epoch instead.
        patience: validations without improvement after which training stops; none by default.
        metric: the figure of the evaluator that decides.
        mode: whether smaller or larger is better, see `BestWeights`.
        facts: what ``model.json`` says besides.
    """

    run: RunFolder
    evaluator: SupervisedEvaluator
    seed: int
    interval: int = 1
    peak: float | None = None
    lr_scheduler: _LRScheduler | None = None
    patience: int | None = None
    metric: str = "val_loss"
    mode: Literal["min", "max", "last"] = "min"
    facts: Mapping[str, Any] | None = None

    def attach(self, engine: SupervisedTrainer) -> None:
        """Attaches all of them to a trainer."""
        for handler in self.handlers(engine):
            handler.attach(engine)

    def handlers(self, engine: SupervisedTrainer) -> Iterator[Any]:
        """Yields those of a trainer in their order."""
        network = engine.network.module if isinstance(engine.network, DistributedDataParallel) else engine.network
        parts: dict[str, Any] = {"network": network, "optimizer": engine.optimizer}
        loss: Any = engine.loss_function
        # One that learns weights of its own goes on with them.
        if any(True for _ in loss.parameters()):
            parts["loss"] = loss
        average = self.evaluator.network
        yield EpochSeeds(self.seed)
        if self.peak is not None:
            yield OneCycle(engine.optimizer, peak=self.peak)
        yield WeightAverage(network, average)
        yield ValidationHandler(interval=self.interval, validator=self.evaluator)
        yield BestWeights(self.run, average, self.evaluator, metric=self.metric, mode=self.mode, facts=self.facts)
        if self.patience is not None:
            better: Literal["min", "max"] = "max" if self.mode == "max" else "min"
            yield EarlyStopping(self.evaluator, patience=self.patience, metric=self.metric, mode=better)
        yield Curves(self.run.path, self.evaluator)
        if self.lr_scheduler is not None:
            yield LrScheduleHandler(self.lr_scheduler, print_lr=False)
            parts["lr_scheduler"] = self.lr_scheduler
        yield Checkpoint(self.run.path, parts)
