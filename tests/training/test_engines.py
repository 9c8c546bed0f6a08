import pytest
import torch
from ignite.metrics import MeanSquaredError
from monai.data import DataLoader, Dataset
from monai.handlers import from_engine
from torch import nn

from breastkit.training import Trainer, Validator


class Heads(nn.Module):
    """Two heads in training, one after it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image):
        return [image * self.scale, image] if self.training else image * self.scale


@pytest.fixture
def parts():
    items = [{"image": torch.full((1, 4, 4), value), "label": torch.zeros(1, 4, 4)} for value in (1.0, 3.0)]
    return Heads(), DataLoader(Dataset(items), batch_size=1)


def test_the_trainers_figure_is_the_mean_loss_over_all_heads(parts):
    network, loader = parts
    optimizer = torch.optim.SGD(network.parameters(), 0.0)
    given = {"max_epochs": 1, "device": "cpu", "train_data_loader": loader, "network": network, "optimizer": optimizer}
    trainer = Trainer(loss_function=nn.MSELoss(), **given)
    trainer.run()
    # (2² + 1) of the first item and (6² + 3²) of the second.
    assert trainer.state.metrics["train_loss"] == pytest.approx((5 + 45) / 2)
    assert trainer.state.best_metric_epoch == 1
    mine = {"mine": MeanSquaredError(from_engine(["label", "label"]))}
    other = Trainer(loss_function=nn.MSELoss(), key_train_metric=mine, **given)
    other.run()
    assert other.state.metrics == {"mine": 0}


def test_the_validators_loss_stands_beside_its_figure(parts):
    network, loader = parts
    given = {"device": "cpu", "val_data_loader": loader, "network": network}
    figure = {"key_val_metric": {"error": MeanSquaredError(from_engine(["pred", "label"]))}}
    validator = Validator(loss_function=nn.L1Loss(), **given, **figure)
    validator.run()
    # MSE of an item is the sum over its 16 pixels.
    assert validator.state.metrics == pytest.approx({"error": 16 * (4 + 36) / 2, "val_loss": (2 + 6) / 2})
    silent = Validator(**given, **figure)
    silent.run()
    assert set(silent.state.metrics) == {"error"}
