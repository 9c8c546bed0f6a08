import copy

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from breastkit.training import WeightAverage


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def attached(learner, average, decay=0.9):
    def step(engine, batch):
        with torch.no_grad():
            for parameter in learner.parameters():
                parameter.fill_(batch)
            learner[1].running_mean.fill_(batch)
            learner[1].num_batches_tracked += 1

    handler, engine = WeightAverage(learner, average, decay=decay), Engine(step)
    handler.attach(engine)
    return handler, engine


def test_weights_and_statistics_are_averaged_and_the_start_is_forgotten():
    learner = network()
    average = copy.deepcopy(learner)
    _, engine = attached(learner, average)
    engine.run([1.0, 2.0, 3.0])
    # The first step is taken as it is; then the average of a young run is short: 2/11 and 3/12 of it stay.
    second = 2 / 11 * 1 + 9 / 11 * 2
    third = 3 / 12 * second + 9 / 12 * 3
    assert average[0].weight.flatten().tolist() == pytest.approx([third] * 4)
    assert average[1].running_mean.tolist() == pytest.approx([third] * 2)
    assert int(average[1].num_batches_tracked) == 3
    assert learner[0].weight[0, 0] == 3.0


def test_a_continued_run_averages_like_an_unbroken_one():
    whole, first, rest = (copy.deepcopy(network()) for _ in range(3))
    attached(network(), whole)[1].run([1.0, 2.0, 3.0, 4.0])
    handler, engine = attached(network(), first)
    engine.run([1.0, 2.0])
    continued, engine = attached(network(), rest)
    continued.load_state_dict(copy.deepcopy(handler.state_dict()))
    engine.run([3.0, 4.0])
    assert torch.equal(rest[0].weight, whole[0].weight)


def test_decay_must_be_a_share():
    with pytest.raises(ValueError, match="between 0 and 1"):
        WeightAverage(network(), network(), decay=1.0)
