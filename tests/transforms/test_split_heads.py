import pytest
import torch

from breastkit.transforms import SplitHeadsd


def planes(*values):
    return torch.tensor(values)[:, None, None].expand(-1, 3, 4)


def test_heads_are_means_over_the_members_and_outlines_stay():
    split = SplitHeadsd("pred", heads=["lesion", "malignant"])({"pred": planes(0.1, 0.9, 0.2, 0.3, 0.7, 0.6)})
    assert torch.equal(split["pred"], planes(0.1, 0.3))
    assert (split["p_lesion"], split["p_malignant"]) == pytest.approx((0.8, 0.4))


def test_without_heads_nothing_changes():
    data = {"pred": planes(0.1, 0.9)}
    assert SplitHeadsd("pred", heads=[])(data) == data
