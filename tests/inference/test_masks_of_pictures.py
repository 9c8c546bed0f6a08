import numpy as np
import pytest

from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.inference import MasksOfPictures


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b (1)", "c", "d"):
        write_png(tmp_path / "in" / f"{name}.png", np.full((6, 8), 100, np.uint8))
    for name, shape in (("a_mask", (6, 8)), ("a", (6, 8)), ("b (1)", (6, 8)), ("c_mask", (8, 6))):
        write_png(tmp_path / "masks" / f"{name}.png", np.zeros(shape, np.uint8))
    return tmp_path


def test_a_mask_is_found_by_either_name(folder):
    masks = MasksOfPictures(mask_dir=folder / "masks")
    found = {
        name: masks({"image": str(folder / "in" / f"{name}.png"), "name": name})["mask"] for name in ("a", "b (1)")
    }
    assert found == {"a": str(folder / "masks/a_mask.png"), "b (1)": str(folder / "masks/b (1).png")}


def test_the_picture_itself_is_no_mask_of_it(folder):
    with pytest.raises(BreastkitError, match=r"d\.png has no mask in .*put d_mask\.png there"):
        MasksOfPictures(mask_dir=folder / "in")({"image": str(folder / "in/d.png")})


def test_a_mask_of_another_size_is_refused(folder):
    with pytest.raises(BreastkitError, match=r"c_mask\.png has shape \(8, 6\) but .*c\.png \(6, 8\)"):
        MasksOfPictures(mask_dir=folder / "masks")({"image": str(folder / "in/c.png")})


def test_what_is_missing_is_named(folder):
    with pytest.raises(BreastkitError, match=r"nowhere is no folder; name the folder of the masks"):
        MasksOfPictures(mask_dir=folder / "nowhere")
    with pytest.raises(BreastkitError, match=r"nowhere\.pt does not exist; name the segmenter's weights with"):
        MasksOfPictures(segmenter_weights=folder / "nowhere.pt")
