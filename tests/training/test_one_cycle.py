import pytest
import torch
from ignite.engine import Engine

from breastkit.training import OneCycle


def rates(epochs, steps, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    seen = []
    engine = Engine(lambda engine, batch: seen.append(optimizer.param_groups[0]["lr"]))
    OneCycle(optimizer, peak=0.1, **options).attach(engine)
    engine.run(range(steps), max_epochs=epochs)
    return seen


def test_rises_to_the_peak_and_falls_to_almost_nothing():
    seen = rates(5, 20, warmup=0.2)
    peak = seen.index(max(seen))
    assert seen[0] == pytest.approx(0.1 / 25)
    assert max(seen) == pytest.approx(0.1, rel=0.01)
    assert peak == pytest.approx(20, abs=1)
    assert seen[-1] == pytest.approx(1e-5)
    assert seen[:peak] == sorted(seen[:peak])
    assert seen[peak:] == sorted(seen[peak:], reverse=True)


def test_one_step_and_no_warmup():
    assert rates(1, 1) == [pytest.approx(0.1 / 25)]
    assert rates(1, 1, warmup=0.0) == [pytest.approx(0.1)]


def test_warmup_must_be_a_share():
    with pytest.raises(ValueError, match="share below 1"):
        rates(1, 1, warmup=1.0)
