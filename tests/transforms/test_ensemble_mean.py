import pytest
import torch

from breastkit.transforms import EnsembleMeand


def test_one_member_is_its_own_mean():
    probability = torch.rand(1, 4, 5)
    results = EnsembleMeand("pred")({"pred": probability})
    assert set(results) == {"pred"}
    assert torch.equal(results["pred"], probability)


def test_mean_spread_and_disagreement():
    members = torch.zeros(2, 4, 4)
    members[:, :2] = 1.0
    members[0, 2] = 0.8
    results = EnsembleMeand("pred", threshold=0.5)({"pred": members})
    assert results["pred"].shape == (1, 4, 4)
    assert results["pred"][0, 2, 0] == pytest.approx(0.4)
    assert results["pred_spread"][0, 2, 0] == pytest.approx(0.4)
    assert results["pred_spread"][0, 0, 0] == 0
    # The mean's mask has 8 pixels; one member's has 12 (Dice 0.8), the other's is the same.
    assert results["pred_disagreement"] == pytest.approx(0.1)


def test_members_that_find_nothing_agree():
    assert EnsembleMeand("pred")({"pred": torch.zeros(3, 4, 4)})["pred_disagreement"] == 0
