import numpy as np
import pytest
import torch

from breastkit.transforms import CleanMaskd, clean_mask


@pytest.fixture
def mask():
    mask = np.zeros((40, 100), bool)
    mask[5:15, 5:25] = True
    mask[20:24, 40:46] = True
    mask[30, 90] = True
    mask[31, 91] = True
    return mask


def test_small_pieces_go(mask):
    expected = mask.copy()
    expected[30:32] = False
    # Two pixels touch at a corner: one piece of 2, below 0.0003 of 100 x 100.
    assert (clean_mask(mask, minimum_share=0.0003) == expected).all()
    assert (clean_mask(mask, minimum_share=0.0002) == mask).all()


def test_only_the_largest_stays(mask):
    assert clean_mask(mask, largest_only=True).sum() == 200
    assert not clean_mask(mask, largest_only=True, minimum_share=0.03).any()


def test_without_a_choice_or_a_mask_nothing_changes(mask):
    assert (clean_mask(mask) == mask).all()
    assert not clean_mask(np.zeros((5, 5)), largest_only=True).any()


def test_a_share_means_the_same_in_a_picture_and_its_square(mask):
    square = np.zeros((100, 100), bool)
    square[30:70] = mask
    for share in (0.0001, 0.0003, 0.003, 0.03):
        assert (clean_mask(square, minimum_share=share)[30:70] == clean_mask(mask, minimum_share=share)).all()


def test_as_a_transform(mask):
    tensor = torch.from_numpy(mask)[None].float()
    cleaned = CleanMaskd("pred", largest_only=True)({"pred": tensor})["pred"]
    assert cleaned.shape == tensor.shape
    assert cleaned.dtype == torch.float32
    assert cleaned.sum() == 200
    with pytest.raises(ValueError, match="minimum_share"):
        CleanMaskd("pred", minimum_share=1.5)
