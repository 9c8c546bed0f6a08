import numpy as np
import pytest
import torch

from breastkit.cases import write_cases
from breastkit.datasets.lesion_regions import LesionRegions, channels_of, studies_of
from breastkit.errors import BreastkitError
from breastkit.images import write_png


@pytest.fixture
def items(tmp_path):
    """Two cases of three 64-pixel slices; the middle one of the first shows two lesions, the second case none."""
    found = []
    for case in range(2):
        for number in range(3):
            mask = np.zeros((64, 64), np.uint8)
            boxes = []
            if case == 0 and number == 1:
                mask[8:14, 8:18] = mask[40:50, 44:52] = 255
                boxes = [[8, 8, 18, 14], [44, 40, 52, 50]]
            picture = np.repeat(60 + (mask // 2)[..., None], 3, axis=-1)
            item = {"case": f"c{case}", "slice": number, "boxes": boxes, "lesion_px": int((mask > 0).sum())}
            for key, array in (("image", picture), ("label", mask)):
                item[key] = str(write_png(tmp_path / f"{key}_{case}_{number}.png", array))
            found.append(item)
    return found


def test_validation_looks_at_every_box_and_at_the_neighbours_of_the_lesion(items):
    regions = LesionRegions(items, image_size=32)
    assert [int(region["case"]) for region in regions] == [0, 0, 0, 0]
    assert [bool(region["label"].any()) for region in regions] == [False, True, True, False]
    assert regions.cases == 2
    assert regions.slice_size == 64
    assert regions[0]["image"].shape == (3, 32, 32)
    assert 0 < float(regions[0]["image"].max()) <= 1


def test_whole_slices_are_all_looked_at(items):
    regions = LesionRegions(items, image_size=32, detection=False)
    assert len(regions) == 6
    assert sum(bool(region["label"].any()) for region in regions) == 1


def test_boxes_are_found_in_masks_that_come_without(items):
    bare = [{"image": item["image"], "label": item["label"]} for item in items]
    regions = LesionRegions(bare, image_size=32)
    assert [bool(region["label"].any()) for region in regions] == [True, True]
    empty = LesionRegions(bare[-1:], image_size=32)
    assert not empty[0]["label"].any()


def test_what_is_drawn_depends_on_seed_and_epoch_alone(items):
    one, other = (LesionRegions(items, image_size=32, random=True, seed=3) for _ in range(2))
    for regions in (one, other):
        regions.set_epoch(4)
    torch.rand(7)
    assert len(one) == 3
    assert all(torch.equal(one[k]["image"], other[k]["image"]) for k in range(len(one)))
    first = [one[1]["label"].clone()]
    for epoch in range(5, 9):
        one.set_epoch(epoch)
        first.append(one[1]["label"])
    assert any(not torch.equal(first[0], later) for later in first[1:])


def test_at_most_so_many_slices_mostly_with_lesions(items):
    regions = LesionRegions(items, image_size=32, detection=False, most=3)
    assert len(regions) == 3
    assert sum(bool(region["label"].any()) for region in regions) == 1


def test_a_missing_slice_is_one_sentence(items):
    with pytest.raises(BreastkitError, match="missing, damaged or no picture"):
        LesionRegions([items[0] | {"image": "nowhere.png"}], image_size=32)
    with pytest.raises(BreastkitError, match="list of slices is empty"):
        LesionRegions([], image_size=32)


def test_studies_of_slices(items, tmp_path):
    scans = {"c0": {"phases": ["pre", "post", "late"], "mask": "mask"}, "c1": {"phases": ["a", "b"], "mask": None}}
    cases = write_cases(tmp_path, {"test": items}, facts={"scans": scans, "channels": "post"})
    assert studies_of(cases, items[:3]) == [{"image": ["pre", "post"], "label": "mask", "case": "c0", "name": "c0"}]
    with pytest.raises(BreastkitError, match="c1 has no lesion mask"):
        studies_of(cases, items)
    assert channels_of(tmp_path) == "post"
    assert channels_of(tmp_path / "nowhere") == "pre-post-subtraction"
