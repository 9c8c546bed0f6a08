import numpy as np
import pytest
from PIL import Image

from breastkit.errors import BreastkitError
from breastkit.transforms import LoadPictured


def test_gray_and_mask(tmp_path):
    gray = np.arange(35, dtype=np.uint8).reshape(5, 7)
    Image.fromarray(gray).save(tmp_path / "a.png")
    mask = np.zeros((5, 7, 4), np.uint8)
    mask[..., 3] = 255
    mask[1:3, 2:4, :3] = 255
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    item = LoadPictured(["image", "label"])({"image": tmp_path / "a.png", "label": str(tmp_path / "a_mask.png")})
    np.testing.assert_array_equal(item["image"].numpy(), gray[None].astype(np.float32))
    assert item["image"].meta["filename_or_obj"] == str(tmp_path / "a.png")
    assert item["label"].sum() == 4
    assert item["label"][0, 1, 2] == 1


def test_what_is_in_memory_is_taken_as_it_is():
    gray, mask = np.arange(35, dtype=np.uint8).reshape(5, 7), np.eye(5, 7) > 0
    item = LoadPictured(["image", "label"])({"image": gray, "label": mask})
    np.testing.assert_array_equal(item["image"].numpy(), gray[None].astype(np.float32))
    assert item["label"].sum() == 5
    assert item["image"].meta["filename_or_obj"] == ""


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(BreastkitError, match=r"a\.png is damaged or not a picture"):
        LoadPictured("image")({"image": tmp_path / "a.png"})
