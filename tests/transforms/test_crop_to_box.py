import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from breastkit.transforms import CropToBoxesd
from breastkit.transforms.crop_to_box import Region, cut_region, in_steps, region_around, whole


def test_a_region_holds_the_box_with_its_margin():
    assert region_around((100, 60, 140, 80), 224, margin=0.5) == Region(30, 80, 80)


def test_a_small_box_gets_surroundings():
    assert region_around((100, 100, 104, 104), 224).side == 32


@pytest.mark.parametrize("box", [(0, 0, 20, 40), (200, 210, 224, 224), (0, 0, 224, 224)])
def test_a_region_stays_in_the_picture(box):
    top, left, side = region_around(box, 224, zoom=1.3, shift=(0.3, -0.3))
    assert min(top, left) >= 0
    assert max(top, left) + side <= 224


def test_zoom_and_shift_move_it():
    plain = region_around((100, 100, 140, 140), 224)
    moved = region_around((100, 100, 140, 140), 224, shift=(0.1, -0.2))
    assert (moved.top - plain.top, moved.left - plain.left) == (8, -16)
    assert region_around((100, 100, 140, 140), 224, zoom=1.2).side == 96


def test_masks_stay_masks():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:30, 10:40] = 1
    cut = cut_region(mask, Region(10, 10, 40), 80, mask=True)
    assert set(np.unique(cut)) == {0, 1}
    assert cut.mean() == pytest.approx(mask[10:50, 10:50].mean(), rel=0.02)


def test_what_was_cut_comes_back_to_its_place():
    volume = torch.zeros(1, 64, 64, 4)
    volume[0, 12:20, 30:44, 2] = 1
    regions = [(2, *region_around((30, 12, 44, 20), 64)), (1, 0, 0, 32)]
    cropper = CropToBoxesd("image", image_size=64)
    cut = cropper({"image": MetaTensor(volume), "regions": np.array(regions)})
    assert cut["image"].shape == (1, 64, 64, 2)
    assert cut["image"][..., 0].any()
    assert not cut["image"][..., 1].any()
    back = cropper.inverse(cut)["image"]
    assert back.shape == volume.shape
    assert torch.equal(torch.as_tensor(back > 0.5), volume > 0.5)


def test_of_overlapping_regions_the_surer_counts():
    cropper = CropToBoxesd("image", image_size=32)
    regions = np.array([(0, 0, 0, 32), (0, 16, 16, 32)])
    cut = cropper({"image": MetaTensor(torch.zeros(1, 64, 64, 1)), "regions": regions})
    cut["image"][..., 0], cut["image"][..., 1] = 0.3, 0.8
    back = cropper.inverse(cut)["image"][0, ..., 0]
    assert back[:16, :16].unique().tolist() == [pytest.approx(0.3)]
    assert back[16:48, 16:48].unique().tolist() == [pytest.approx(0.8)]
    assert not back[48:].any()


def test_a_study_without_region_gives_an_empty_mask():
    cropper = CropToBoxesd("image", image_size=16)
    cut = cropper({"image": MetaTensor(torch.ones(3, 32, 32, 5)), "regions": np.zeros((0, 4))})
    assert cut["image"].shape == (3, 16, 16, 1)
    cut["image"][:] = 1
    assert not cropper.inverse(cut)["image"].any()


def test_a_whole_slice_is_a_region():
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(cut_region(picture, whole(8), 8), picture)


@pytest.mark.parametrize(
    ("first", "end", "expected"), [(33, 63, (32, 64)), (31, 65, (0, 96)), (-5, 10, (0, 32)), (190, 300, (160, 200))]
)
def test_a_part_reaches_to_the_next_steps(first, end, expected):
    assert in_steps(first, end, 200) == slice(*expected)
