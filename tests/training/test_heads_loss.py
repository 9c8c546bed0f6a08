import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn.functional import binary_cross_entropy_with_logits

from breastkit.training import HeadsLoss


def test_it_is_the_sum_over_the_maps_and_the_answer_for_the_image():
    torch.manual_seed(0)
    maps, answer = [torch.randn(2, 1, 8, 8) for _ in range(2)], torch.tensor([2.0, -1.0]).reshape(2, 1, 1, 1)
    truth = torch.zeros(2, 1, 8, 8)
    truth[0, 0, 3, 3] = 1
    expected = sum(DiceCELoss(sigmoid=True)(logits, truth) for logits in maps)
    expected += binary_cross_entropy_with_logits(answer.flatten(), torch.tensor([1.0, 0.0]))
    assert HeadsLoss(DiceCELoss(sigmoid=True))([*maps, answer], truth).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_of_a_single_tensor_it_is_the_loss_itself():
    logits, truth = torch.randn(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    assert torch.equal(HeadsLoss(DiceCELoss(sigmoid=True))(logits, truth), DiceCELoss(sigmoid=True)(logits, truth))
