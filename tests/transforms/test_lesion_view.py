import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from breastkit.transforms import LesionViewd
from breastkit.transforms.lesion_view import lesion_view


def square(size=64):
    random = np.random.default_rng(0)
    gray = torch.from_numpy(random.uniform(0.4, 0.6, (1, size, size)).astype(np.float32))
    mask = torch.zeros(1, size, size)
    mask[:, 16:40, 20:50] = 1
    return {"image": MetaTensor(gray), "mask": MetaTensor(mask)}


def test_channels():
    data = square()
    view = LesionViewd("image", mask_key="mask")(data)["image"]
    inside = data["mask"][0] > 0
    assert view.shape == (3, 64, 64)
    assert view.dtype == torch.float32
    gray, lesion, mask = view
    assert abs(gray.mean()) < 1e-4
    assert abs(gray.std() - 1) < 1e-2
    # Contrast is brought out inside; outside is a quarter of the gray values.
    assert lesion[inside].std() > 3 * 2 * data["image"][0][inside].std()
    torch.testing.assert_close(lesion[~inside].as_tensor(), data["image"][0][~inside].as_tensor() * 0.5 - 1)
    assert set(mask[inside].tolist()) == {1.0}
    assert set(mask[~inside].tolist()) == {-1.0}


def test_an_empty_mask_leaves_the_outside():
    data = square()
    data["mask"] = data["mask"] * 0
    _, lesion, mask = LesionViewd("image", mask_key="mask")(data)["image"]
    torch.testing.assert_close(lesion.as_tensor(), data["image"][0].as_tensor() * 0.5 - 1)
    assert (mask == -1).all()


def test_gray_alone_needs_no_mask():
    view = LesionViewd("image", mask_key="mask", channels=["gray"])({"image": square()["image"]})["image"]
    assert view.shape == (1, 64, 64)


def test_the_lesion_is_not_made_up_without_a_mask():
    gray = np.asarray(square()["image"][0])
    with pytest.raises(ValueError, match="needs the mask"):
        lesion_view(gray, None)


def test_a_flat_picture_is_zero_and_not_nan():
    view = LesionViewd("image", mask_key="mask")({"image": torch.zeros(1, 8, 8), "mask": torch.zeros(1, 8, 8)})
    assert torch.isfinite(view["image"]).all()
    assert not view["image"][0].any()


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match="colour"):
        LesionViewd("image", mask_key="mask", channels=["colour"])
    with pytest.raises(ValueError, match="needs one channel"):
        LesionViewd("image", mask_key="mask", channels=[])
