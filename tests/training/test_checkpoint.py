"""A run that was broken off goes on as if it had not been."""

import csv

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Average, Loss
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler, from_engine
from monai.transforms import Compose, RandGaussianNoised
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.images import read_gray
from breastkit.training import (
    BestWeights,
    Checkpoint,
    Curves,
    EarlyStopping,
    EpochSeeds,
    RunFolder,
    load_weights,
    read_model_json,
)

EPOCHS = 5


class Killed(BaseException):
    """What a test throws into a run; nothing catches it."""


class Run:
    """A small training with everything random a real one has: shuffling, augmentation, dropout."""

    def __init__(self, folder, *, seed=0, kill_at=None, width=4):
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Dropout(0.3), nn.Linear(width, 1))
        optimizer = torch.optim.Adam(self.network.parameters(), 0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
        values = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
        data = [{"image": value, "label": value[:1] > 0} for value in values]
        noise = Compose([RandGaussianNoised("image", prob=0.8, std=0.3)])
        loader = DataLoader(Dataset(data, noise), batch_size=4, shuffle=True)
        loss = nn.BCEWithLogitsLoss()
        prepare = lambda batch, *_args, **_kwargs: (batch["image"].as_tensor(), batch["label"].float())  # noqa: E731
        self.evaluator = SupervisedEvaluator(
            "cpu",
            DataLoader(Dataset(data), batch_size=10),
            self.network,
            prepare_batch=lambda batch, *_args, **_kwargs: (batch["image"], batch["label"].float()),
            key_val_metric={"val_loss": Loss(loss, output_transform=from_engine(["pred", "label"]))},
            decollate=False,
        )
        self.stopping = EarlyStopping(self.evaluator, patience=EPOCHS)
        self.curves = Curves(folder, self.evaluator)
        self.trainer = SupervisedTrainer(
            "cpu",
            EPOCHS,
            loader,
            self.network,
            optimizer,
            loss,
            prepare_batch=prepare,
            key_train_metric={"train_loss": Average(output_transform=lambda output: output["loss"].item())},
            train_handlers=[
                EpochSeeds(seed),
                ValidationHandler(1, self.evaluator),
                BestWeights(RunFolder(folder, settings={"architecture": "small"}), self.network, self.evaluator),
                self.stopping,
                self.curves,
                LrScheduleHandler(schedule, print_lr=False),
                Checkpoint(folder, {"network": self.network, "optimizer": optimizer, "lr_scheduler": schedule}),
            ],
            decollate=False,
        )
        if kill_at:
            self.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=kill_at), self.kill)

    def kill(self):
        raise Killed


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    run = Run(folder)
    run.trainer.run()
    return folder, run


def same(a, b):
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize("kill_at", [3, 8, 15])
def test_a_killed_run_ends_as_the_unbroken_one(unbroken, tmp_path, kill_at):
    folder, reference = unbroken
    with pytest.raises(Killed):
        Run(tmp_path, kill_at=kill_at).trainer.run()
    run = Run(tmp_path)
    iterations = []
    run.trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: iterations.append(engine.state.iteration))
    run.trainer.run()
    # Five batches an epoch: at most the epoch that was under way is done again.
    assert iterations[0] == (kill_at - 1) // 5 * 5 + 1
    assert same(run.network.state_dict(), reference.network.state_dict())
    assert same(load_weights(tmp_path), load_weights(folder))
    figures = [[{k: v for k, v in row.items() if k != "seconds"} for row in r.curves.rows] for r in (run, reference)]
    assert figures[0] == figures[1]
    assert run.stopping.state_dict() == reference.stopping.state_dict()


def test_a_run_killed_after_its_last_epoch_trains_no_further(unbroken):
    folder, reference = unbroken
    run = Run(folder)
    iterations = []
    run.trainer.add_event_handler(Events.ITERATION_STARTED, lambda: iterations.append(1))
    run.trainer.run()
    assert not iterations
    assert same(run.network.state_dict(), reference.network.state_dict())


def test_same_seed_same_weights_other_seed_others(unbroken, tmp_path):
    again, other = Run(tmp_path / "again"), Run(tmp_path / "other", seed=1)
    again.trainer.run()
    other.trainer.run()
    assert same(again.network.state_dict(), unbroken[1].network.state_dict())
    assert not same(other.network.state_dict(), again.network.state_dict())


def test_best_weights_are_those_of_the_smallest_validation_loss(unbroken):
    folder, run = unbroken
    best = min(run.curves.rows, key=lambda row: row["val_loss"])
    network = Run(folder / "unused").network
    load_weights(folder, network)
    evaluator = run.evaluator
    evaluator.network = network
    evaluator.run()
    assert evaluator.state.metrics["val_loss"] == pytest.approx(best["val_loss"], abs=1e-6)


def test_killed_between_weights_and_their_description_it_writes_both_again(tmp_path):
    """Where an epoch does not repeat exactly, the next one need not be better than the best of those before."""
    with pytest.raises(Killed):
        Run(tmp_path, kill_at=6).trainer.run()
    torch.save({"half": torch.ones(1)}, tmp_path / "model.pt")
    run = Run(tmp_path)
    run.evaluator.add_event_handler(Events.COMPLETED, lambda engine: engine.state.metrics.update(val_loss=9.0))
    run.trainer.run()
    assert read_model_json(tmp_path)["figures"] == {"val_loss": 9.0, "epoch": 2}
    load_weights(tmp_path, run.network)


def test_curves_are_a_table_and_a_picture(unbroken):
    folder, run = unbroken
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in run.curves.rows]
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.05)
    assert float(rows[-1]["learning_rate"]) < 0.01
    picture = read_gray(folder / "curves.png")
    assert picture.shape[0] > 300
    assert picture.std() > 5


def test_damaged_checkpoint_is_one_sentence(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(BreastkitError, match=r"checkpoint\.pt is damaged; start over with --resume false"):
        Run(tmp_path).trainer.run()


def test_checkpoint_of_another_network_is_one_sentence(tmp_path):
    with pytest.raises(Killed):
        Run(tmp_path, kill_at=6).trainer.run()
    with pytest.raises(BreastkitError, match="is of a run with other settings; restore them or start over"):
        Run(tmp_path, width=8).trainer.run()


def test_a_failing_write_leaves_the_last_checkpoint(tmp_path):
    with pytest.raises(Killed):
        Run(tmp_path, kill_at=6).trainer.run()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    run = Run(tmp_path)
    run.trainer.kept_states["unsavable"] = run
    run.state_dict = lambda: {"value": lambda: None}
    run.load_state_dict = lambda _state: None
    checkpoint = next(part for part in run.trainer._event_handlers[Events.EPOCH_COMPLETED] if "Checkpoint" in str(part))
    with pytest.raises(AttributeError):
        checkpoint[0](run.trainer)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".writing*"))
