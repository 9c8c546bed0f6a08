import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd

from breastkit.transforms import LetterboxPicturesd
from breastkit.transforms.letterbox_pictures import letterbox_picture


def disc(rows, columns):
    y, x = np.mgrid[:rows, :columns]
    return ((y - rows * 0.3) ** 2 + (x - columns * 0.7) ** 2 < (min(rows, columns) * 0.2) ** 2).astype(np.float32)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (20, 31), (2, 100), (48, 48)])
def test_image_and_mask_come_back_to_their_place(shape):
    mask = torch.from_numpy(disc(*shape))[None]
    data = {"image": MetaTensor(mask * 200), "label": MetaTensor(mask.clone())}
    transform = LetterboxPicturesd(["image", "label"], 48)
    result = transform(data)
    assert result["image"].shape == result["label"].shape == (1, 48, 48)
    assert result["image"].min() >= 0
    assert result["image"].max() <= 1
    # What a network finds comes back through the image's operations.
    result["pred"] = MetaTensor(result["label"].as_tensor().clone())
    back = Invertd("pred", transform, orig_keys="image", nearest_interp=False)(result)["pred"]
    assert back.shape == (1, *shape)
    found, truth = back.numpy() > 0.5, mask.numpy() > 0.5
    if min(shape) > 10:
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.93
    label = transform.inverse({key: result[key] for key in ("image", "label")})["label"]
    assert set(np.unique(label.numpy())) <= {0.0, 1.0}


def test_padding_is_black_and_even():
    square, box = letterbox_picture(np.full((10, 40), 100.0) + np.arange(40), 40)
    assert box.window == (slice(15, 25), slice(0, 40))
    assert not square[:15].any()
    assert not square[25:].any()
    assert square[20].max() == 1


def test_shrinking_averages_speckle_away():
    noise = np.random.default_rng(0).normal(100, 20, (400, 400)).astype(np.float32)
    square, _ = letterbox_picture(noise, 50, percentiles=(0, 100))
    # The mean of 8 × 8 independent pixels varies by an eighth of what one does.
    assert square.std() * (noise.max() - noise.min()) == pytest.approx(20 / 8, rel=0.15)


def test_a_flat_picture_becomes_zeros():
    square, _ = letterbox_picture(np.full((20, 30), 77.0), 16)
    assert not square.any()


@pytest.mark.parametrize("options", [{"image_size": 0}, {"image_size": 8, "percentiles": (5, 5)}])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match="must"):
        LetterboxPicturesd("image", **options)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one channel of a picture"):
        LetterboxPicturesd("image", 16)({"image": torch.zeros(3, 8, 8)})
