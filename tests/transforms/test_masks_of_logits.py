import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from breastkit.transforms import LetterboxPicturesd, MasksOfLogits


@pytest.fixture
def read():
    """A picture of 10 x 20 in a square of 40, and the logits of two members that outline its left half and a speck."""
    preprocessing = Compose([LetterboxPicturesd("image", image_size=40)])
    data = preprocessing({"image": MetaTensor(torch.rand(1, 10, 20))})
    data["pred"] = torch.full((2, 40, 40), -9.0)
    data["pred"][:, :, :20] = 9.0
    data["pred"][0, 18:20, 36:38] = 9.0
    return preprocessing, data


def test_masks_lie_on_the_grid_that_was_read(read):
    preprocessing, data = read
    result = MasksOfLogits(preprocessing, threshold=0.5)(data)
    mask = np.asarray(result["pred"])
    assert mask.shape == (1, 10, 20)
    assert mask[0, :, :10].all()
    assert mask[0, 4:6, 18:20].any()
    assert result["pred_disagreement"] > 0
    assert "probability" not in result


def test_probabilities_are_kept_and_specks_go_where_asked(read):
    preprocessing, data = read
    clean_up = {"largest_only": True, "minimum_share": 0.0}
    result = MasksOfLogits(preprocessing, threshold=0.5, clean_up=clean_up, keep_probability=True)(data)
    assert not np.asarray(result["pred"])[0, :, 11:].any()
    probability = np.asarray(result["probability"])
    assert probability.shape == (1, 10, 20)
    assert 0.4 < probability[0, 4:6, 18:20].max() < 0.6
