import pytest

from benchmarks.screens import pictures_with_masks
from breastkit.errors import BreastkitError


def test_pictures_are_paired_with_their_masks_as_published(tmp_path):
    with pytest.raises(BreastkitError, match="let BREASTKIT_DATA name"):
        pictures_with_masks(str(tmp_path))
    names = ("busi/Dataset_BUSI_with_GT/benign/benign (1).png", "busi/Dataset_BUSI_with_GT/normal/normal (1).png")
    names += ("busbra/BUSBRA/Images/bus_0001-l.png",)
    for name in (*names, names[0].replace(".png", "_mask.png"), names[1].replace(".png", "_mask.png")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = {path.name: mask.name for path, mask in pictures_with_masks(str(tmp_path))}
    assert found == {"benign (1).png": "benign (1)_mask.png", "bus_0001-l.png": "mask_0001-l.png"}
