"""MONAI's engines as every bundle starts them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.metrics import Average, Loss, Metric
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import from_engine
from torch import nn

from breastkit.training.epoch_progress import EpochProgress
from breastkit.training.heads_loss import HeadsLoss


class Trainer(SupervisedTrainer):
    """MONAI's trainer with a progress bar, the mean loss as its figure, and a loss over all heads of a network.

    Args:
        loss_function: of one output and the truth, see `HeadsLoss`.
        train_handlers: as MONAI's; they are attached when the trainer is whole.
        key_train_metric: as MONAI's; ``train_loss``, of which less is better, if left out.
        options: of MONAI's trainer.
    """

    def __init__(
        self,
        *,
        loss_function: nn.Module,
        train_handlers: Sequence[Any] = (),
        key_train_metric: Mapping[str, Metric] | None = None,
        **options: Any,
    ) -> None:
        mean = {"train_loss": Average(output_transform=lambda output: output["loss"].item())}
        less = {"key_train_metric": mean, "metric_cmp_fn": operator.lt}
        how = less if key_train_metric is None else {"key_train_metric": dict(key_train_metric)}
        super().__init__(**{**how, "loss_function": HeadsLoss(loss_function), "decollate": False, **options})
        # MONAI would attach them before it takes in the network and the optimiser, which they look at.
        for handler in (EpochProgress(), *train_handlers):
            handler.attach(self)


class Validator(SupervisedEvaluator):
    """MONAI's evaluator with a progress bar and the mean loss beside the figure that decides.

    Args:
        loss_function: of logits and truth; without one there is no ``val_loss``.
        val_handlers: as MONAI's.
        additional_metrics: as MONAI's, beside ``val_loss``.
        options: of MONAI's evaluator.
    """

    def __init__(
        self,
        *,
        loss_function: nn.Module | None = None,
        val_handlers: Sequence[Any] = (),
        additional_metrics: Mapping[str, Metric] | None = None,
        **options: Any,
    ) -> None:
        metrics = dict(additional_metrics or {})
        if loss_function is not None:
            metrics["val_loss"] = Loss(loss_function, output_transform=from_engine(["pred", "label"]))
        handlers = [EpochProgress("Validation"), *val_handlers]
        whole = {"additional_metrics": metrics, "val_handlers": handlers, "decollate": False}
        super().__init__(**{**whole, **options})
