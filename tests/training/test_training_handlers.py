"""Which handlers a training gets, and in which order; what they do together the contract of the bundles asks."""

import copy

import pytest
import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import nn

from breastkit.training import (
    BestWeights,
    Checkpoint,
    Curves,
    EarlyStopping,
    EpochSeeds,
    OneCycle,
    RunFolder,
    TrainingHandlers,
    WeightAverage,
)  # fmt: skip


def handlers(folder, **options):
    network = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    if options.pop("scheduled", False):
        options["lr_scheduler"] = torch.optim.lr_scheduler.ConstantLR(optimizer)
    trainer = SupervisedTrainer("cpu", 1, [], network, optimizer, nn.MSELoss())
    evaluator = SupervisedEvaluator("cpu", [], copy.deepcopy(network))
    made = TrainingHandlers(run=RunFolder(folder, settings={}), evaluator=evaluator, seed=0, **options)
    return list(made.handlers(trainer))


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, ()),
        ({"peak": 0.1}, (OneCycle,)),
        ({"patience": 3, "metric": "val_dice", "mode": "max"}, (EarlyStopping,)),
        ({"scheduled": True}, (LrScheduleHandler,)),
    ],
)
def test_what_was_asked_for_stands_in_its_place(tmp_path, options, more):
    order = (
        EpochSeeds, OneCycle, WeightAverage, ValidationHandler, BestWeights, EarlyStopping, Curves, LrScheduleHandler,
        Checkpoint,
    )  # fmt: skip
    optional = {OneCycle, EarlyStopping, LrScheduleHandler} - set(more)
    found = handlers(tmp_path, **options)
    assert [type(each) for each in found] == [kind for kind in order if kind not in optional]
    assert ("lr_scheduler" in found[-1].parts) is (LrScheduleHandler in more)
    stopping = [each for each in found if isinstance(each, EarlyStopping)]
    assert [(each.metric, each.mode) for each in stopping] == ([("val_dice", "max")] if stopping else [])
