import pytest
import torch
from monai.losses import DiceLoss

from breastkit.training import BatchDiceLoss


def example(batch=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, 1, 6, 5, generator=generator, requires_grad=True)
    return logits, (torch.rand(batch, 1, 6, 5, generator=generator) > 0.6).float()


def test_equals_monai_over_the_batch():
    logits, target = example()
    reference = DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)(logits, target)
    torch.testing.assert_close(BatchDiceLoss()(logits, target), reference)


def test_a_wrong_pixel_costs_the_same_in_a_slice_without_target():
    logits = torch.zeros(2, 1, 4, 4, requires_grad=True)
    target = torch.zeros(2, 1, 4, 4)
    target[0, 0, :2] = 1
    BatchDiceLoss()(logits, target).backward()
    torch.testing.assert_close(logits.grad[0, 0, 3], logits.grad[1, 0, 3])
    assert (logits.grad[1] > 0).all()


def test_perfect_and_empty():
    target = example()[1]
    assert BatchDiceLoss()((target - 0.5) * 200, target).item() == pytest.approx(0, abs=1e-6)
    assert BatchDiceLoss()(torch.full((1, 1, 4, 4), -100.0), torch.zeros(1, 1, 4, 4)).item() == pytest.approx(0)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"logits have shape \(1, 1, 4, 4\) but masks \(1, 4, 4\)"):
        BatchDiceLoss()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4))
