import pytest
from ignite.engine import Engine, Events

from breastkit.training import EarlyStopping


def make(figures, *, patience=2, mode="min", epochs=10):
    """A trainer whose validation gives these figures one after the other."""
    trainer, evaluator = Engine(lambda _engine, _batch: None), Engine(lambda _engine, _batch: None)
    handler = EarlyStopping(evaluator, patience=patience, metric="figure", mode=mode)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        evaluator.state.epoch = engine.state.epoch
        evaluator.state.metrics["figure"] = figures[engine.state.epoch - 1]

    handler.attach(trainer)
    return trainer, handler, lambda: trainer.run([0], max_epochs=epochs).epoch


@pytest.mark.parametrize(
    ("figures", "mode", "stops"),
    [
        ([3, 2, 1, 1.5, 1.2, 0], "min", 5),
        ([3, 2, 2, 1, 1, 1], "min", 6),
        ([1, 2, 3, 2, 2, 9], "max", 5),
    ],
)
def test_stops_after_patience_without_improvement(figures, mode, stops):
    _, _, run = make(figures, mode=mode)
    assert run() == stops


def test_epochs_without_validation_do_not_count():
    trainer, evaluator = Engine(lambda _engine, _batch: None), Engine(lambda _engine, _batch: None)
    evaluator.state.metrics["figure"] = 1.0
    evaluator.state.epoch = 1
    EarlyStopping(evaluator, patience=1, metric="figure").attach(trainer)
    assert trainer.run([0], max_epochs=6).epoch == 6


def test_count_goes_on_from_its_state():
    _, first, run = make([1, 2, 3, 4], patience=4, epochs=3)
    run()
    trainer, second, run = make([5, 5, 5, 5], patience=4)
    trainer.add_event_handler(Events.STARTED, lambda: second.load_state_dict(first.state_dict()))
    assert run() == 2


def test_a_stopped_run_stays_stopped():
    _, first, run = make([1, 2, 3], patience=2)
    assert run() == 3
    trainer, second, run = make([0, 0, 0], patience=2)
    trainer.add_event_handler(Events.STARTED, lambda: second.load_state_dict(first.state_dict()))
    assert run() == 0
