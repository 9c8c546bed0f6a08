import numpy as np
import pytest
from tests.datasets.small_sets import save, square, texture

from breastkit.cases import read_cases
from breastkit.datasets.pairs import find_pairs, prepare_pairs
from breastkit.errors import BreastkitError
from breastkit.images import read_mask


def write(folder, images, masks, count=6, **mask_options):
    for number in range(1, count + 1):
        save(folder / (images.format(number) + ".png"), texture(number))
        save(folder / (masks.format(number) + ".png"), square((number, 9), **mask_options))


def test_two_folders_of_the_same_names(tmp_path):
    write(tmp_path, "original/{:06d}", "GT/{:06d}")
    cases = read_cases(prepare_pairs(tmp_path / "original", tmp_path / "GT", tmp_path / "out", workers=1))
    items = {item["image"].rsplit("/", 1)[1]: item for _, item in cases.items()}
    assert sorted(items) == [f"{number:06d}.png" for number in range(1, 7)]
    for number in range(1, 7):
        assert np.array_equal(read_mask(items[f"{number:06d}.png"]["label"]) * 255, square((number, 9)))
    assert cases.facts["problems"] == []


def test_patterns_and_masks_of_another_size_with_grey_edges(tmp_path):
    """The layout of STU-Hospital."""
    write(tmp_path, "images/Test_Image_{}", "masks/mask_{}", shape=(80, 104), size=24)
    for path in (tmp_path / "masks").iterdir():
        mask = read_mask(path) * 255
        mask[:, 9] = np.minimum(mask[:, 9], 90)
        save(path, mask)
    options = {"image_pattern": "Test_Image_{}", "mask_pattern": "mask_{}", "workers": 1}
    with pytest.raises(BreastkitError, match="--resize-masks"):
        prepare_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "strict", **options)
    path = prepare_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "out", resize_masks=True, **options)
    items = [item for _, item in read_cases(path).items()]
    assert len(items) == 6
    assert all(120 <= item["lesion_px"] <= 160 for item in items)
    assert {item["image"].rsplit("/", 1)[1] for item in items} == {f"{number}.png" for number in range(1, 7)}


def test_one_folder_holds_both_and_an_image_may_have_several_masks(tmp_path):
    """The layout of BrEaST."""
    write(tmp_path, "all/case{:03d}", "all/case{:03d}_tumor")
    save(tmp_path / "all" / "case001_other1.png", square((30, 40)))
    pictures = find_pairs(tmp_path / "all", tmp_path / "all", mask_pattern="{}_*").pictures
    assert [picture.name for picture in pictures] == [f"case{number:03d}" for number in range(1, 7)]
    assert [len(picture.masks) for picture in pictures] == [2, 1, 1, 1, 1, 1]
    with pytest.raises(BreastkitError, match="tell them apart with --mask-pattern"):
        find_pairs(tmp_path / "all", tmp_path / "all")


def test_sub_folders_count_as_part_of_the_name(tmp_path):
    write(tmp_path, "images/a/{}", "masks/a/{}", count=2)
    write(tmp_path, "images/b/{}", "masks/b/{}", count=2)
    names = [picture.name for picture in find_pairs(tmp_path / "images", tmp_path / "masks").pictures]
    assert names == ["a_1", "a_2", "b_1", "b_2"]


def test_what_has_no_partner_is_named(tmp_path):
    write(tmp_path, "images/{}", "masks/{}", count=3)
    (tmp_path / "images" / "1.png").unlink()
    (tmp_path / "masks" / "2.png").unlink()
    found = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [picture.name for picture in found.pictures] == ["3"]
    assert "1.png is a mask without an image" in found.problems[0]
    assert "2.png has no mask in" in found.problems[1]


def test_names_that_do_not_match_say_how_to_match_them(tmp_path):
    write(tmp_path, "images/Test_Image_{}", "masks/mask_{}")
    with pytest.raises(BreastkitError, match=r"Test_Image_1\.png.*mask_1\.png.*--image-pattern and --mask-pattern"):
        find_pairs(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(BreastkitError, match=r"needs \{\} once"):
        find_pairs(tmp_path / "images", tmp_path / "masks", mask_pattern="mask")
    with pytest.raises(BreastkitError, match="does not exist"):
        find_pairs(tmp_path / "images", tmp_path / "nothing")
