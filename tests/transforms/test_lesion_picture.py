import numpy as np
import pytest

from breastkit.images import write_png
from breastkit.transforms import LesionPicture


@pytest.fixture
def files(tmp_path):
    gray = np.random.default_rng(0).integers(0, 255, (30, 50)).astype(np.uint8)
    mask = np.zeros((30, 50), np.uint8)
    mask[5:15, 10:30] = 255
    return {"image": str(write_png(tmp_path / "a.png", gray)), "mask": str(write_png(tmp_path / "m.png", mask))}


def test_the_view_of_picture_and_mask_and_both_as_they_were_read(files):
    given = LesionPicture(image_size=32, channels=["gray", "mask"], margin=None)(files)
    assert given["image"].shape == (2, 32, 32)
    assert given["picture"].shape == given["mask_picture"].shape == (1, 30, 50)
    inside = np.asarray(given["image"])[1] > 0
    assert inside.sum() == pytest.approx(200 * (32 / 50) ** 2, rel=0.15)


def test_a_margin_cuts_to_the_lesion(files):
    given = LesionPicture(image_size=32, channels=["mask"], margin=0.0)(files)
    assert (np.asarray(given["image"])[0] > 0).sum() > 400


def test_gray_alone_needs_no_mask(files):
    given = LesionPicture(image_size=32, channels=["gray"])({"image": files["image"]})
    assert given["image"].shape == (1, 32, 32)
    assert "mask_picture" not in given
