import math

import pytest
import torch

from breastkit.training import DiceBCELoss


def test_by_hand():
    logits = torch.tensor([[[[0.0, 0.0]]]])
    truth = torch.tensor([[[[1.0, 0.0]]]])
    # P = (½, ½), so |P∩G| = ½ and |P| + |G| = 2.
    expected = 1 - (2 * 0.5 + 0.1) / (2 + 0.1) + 0.7 * math.log(2)
    assert DiceBCELoss(bce_weight=0.7, epsilon=0.1)(logits, truth).item() == pytest.approx(expected, rel=1e-6)


def test_each_image_counts_alike():
    truth = torch.zeros(2, 1, 8, 8)
    truth[0, :, :1, :1], truth[1] = 1, 1
    logits = torch.full_like(truth, -20.0)
    logits[1] = 20.0
    assert DiceBCELoss(bce_weight=0, epsilon=1e-3)(logits, truth).item() == pytest.approx(0.5, abs=0.01)


def test_an_empty_image_is_right_when_nothing_is_found():
    truth = torch.zeros(1, 1, 8, 8)
    loss = DiceBCELoss(bce_weight=0)
    assert loss(torch.full_like(truth, -20.0), truth).item() == pytest.approx(0, abs=1e-4)
    assert loss(torch.full_like(truth, 20.0), truth).item() > 0.9


@pytest.mark.parametrize("options", [{"bce_weight": -1}, {"epsilon": 0}])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match="must not be negative"):
        DiceBCELoss(**options)
