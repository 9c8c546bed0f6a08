import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from breastkit.transforms import CropToLesiond, LetterboxPicturesd
from breastkit.transforms.crop_to_lesion import lesion_window


def block(shape=(60, 90), rows=(20, 36), columns=(40, 60)):
    mask = np.zeros(shape, np.float32)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


def test_the_window_is_a_square_around_the_lesion():
    assert lesion_window(block() > 0, margin=0.25) == (slice(13, 43), slice(35, 65))


@pytest.mark.parametrize("rows", [(0, 4), (56, 60)])
def test_at_the_border_the_window_moves_inside(rows):
    window = lesion_window(block(rows=rows, columns=(0, 20)) > 0, margin=0.25)
    assert [part.stop - part.start for part in window] == [30, 30]
    assert window[1].start == 0
    assert window[0] == (slice(0, 30) if rows[0] == 0 else slice(30, 60))


def test_a_picture_smaller_than_the_window_is_cut_where_it_ends():
    assert lesion_window(block((20, 90), rows=(2, 18)) > 0, margin=0.5) == (slice(0, 20), slice(30, 70))


def test_an_empty_mask_leaves_the_picture_whole():
    assert lesion_window(np.zeros((10, 20), bool)) == (slice(0, 10), slice(0, 20))


def test_what_is_found_in_the_crop_comes_back_to_its_place():
    mask = torch.from_numpy(block())[None]
    chain = Compose(
        [
            CropToLesiond(["image", "mask"], mask_key="mask", margin=0.25),
            LetterboxPicturesd(["image", "mask"], 64, mask_keys="mask"),
        ]
    )
    result = chain({"image": MetaTensor(mask * 200), "mask": MetaTensor(mask.clone())})
    assert result["image"].shape == (1, 64, 64)
    assert result["mask"].mean() > 0.3
    result["pred"] = MetaTensor(result["mask"].as_tensor().clone())
    back = Invertd("pred", chain, orig_keys="image", nearest_interp=False)(result)["pred"].numpy() > 0.5
    truth = mask.numpy() > 0
    assert back.shape == truth.shape
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.95


def test_without_margin_nothing_is_cut():
    data = {"image": torch.ones(1, 4, 6)}
    transform = CropToLesiond("image", mask_key="mask", margin=None)
    assert transform(data)["image"] is data["image"]
    assert transform.inverse(data)["image"] is data["image"]


def test_another_size_than_the_mask_is_refused():
    with pytest.raises(ValueError, match=r"shape \(8, 8\) but its mask \(4, 4\)"):
        CropToLesiond("image", mask_key="mask")({"image": torch.ones(1, 8, 8), "mask": torch.ones(1, 4, 4)})
