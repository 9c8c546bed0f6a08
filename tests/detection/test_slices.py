"""Pictures and boxes move together, and the same seed moves them alike."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from breastkit.dce.phases import slice_boxes
from breastkit.detection import (
    LesionSlices,
    LoadLesionSliced,
    PadBoxesd,
    RandBoxAffined,
    RandChannelContrastd,
    RandWindows,
)
from breastkit.errors import BreastkitError
from breastkit.images import write_png


@pytest.fixture
def item(tmp_path):
    picture, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    picture[20:32, 40:50, 2] = 250
    mask[20:32, 40:50] = 255
    image, label = write_png(tmp_path / "a.png", picture), write_png(tmp_path / "m.png", mask)
    return {"image": str(image), "label": str(label), "case": "a", "slice": 3}


def test_boxes_come_from_the_item_or_from_its_mask(item):
    load = LoadLesionSliced("image", 64)
    read = load(item)
    assert read["image"].shape == (3, 64, 64)
    assert read["image"][2, 25, 45] == pytest.approx(250 / 255)
    assert read["image"][0].max() == 0
    assert read["label"].tolist() == [[40, 20, 50, 32]]
    assert load({**item, "boxes": [[1, 2, 3, 4]]})["label"].tolist() == [[1, 2, 3, 4]]
    assert LoadLesionSliced("image", 128)(item)["label"].tolist() == [[80, 40, 100, 64]]
    with pytest.raises(BreastkitError, match="neither boxes nor a mask"):
        load({"image": item["image"]})
    with pytest.raises(BreastkitError, match="missing or no picture"):
        load({**item, "image": "nowhere.png"})


def test_boxes_follow_their_pictures(item):
    move = RandBoxAffined("image", "label", mirror=0.5, upside_down=0.5, degrees=0, scale=(0.8, 1.2), shift=0.1)
    read = LoadLesionSliced("image", 64)(item)
    seen = 0
    for seed in range(20):
        move.set_random_state(seed=seed)
        moved = move(read)
        truth = slice_boxes(moved["image"][2] > 0.4)
        if len(moved["label"]) and truth:
            np.testing.assert_allclose(moved["label"], truth, atol=1.6)
            seen += 1
    assert seen > 15


def test_what_has_left_the_picture_has_no_box(item):
    move = RandBoxAffined("image", "label", mirror=0, degrees=0, scale=(3.0, 3.0001), shift=0.0)
    read = LoadLesionSliced("image", 64)({**item, "boxes": [[0, 0, 8, 8]]})
    assert move(read)["label"].shape == (0, 4)


def test_channels_change_apart_and_stay_in_range(item):
    read = LoadLesionSliced("image", 64)(item)
    change = RandChannelContrastd("image")
    change.set_random_state(seed=1)
    one = change(read)["image"]
    assert one.min() >= 0
    assert one.max() <= 1
    assert not np.allclose(one, read["image"])


def test_random_changes_depend_on_seed_epoch_and_slice_alone(item):
    transform = Compose([LoadLesionSliced("image", 64), RandBoxAffined("image", "label"), PadBoxesd(rows=4)])
    data = [item, {**item, "slice": 4}]
    first, second = (LesionSlices(data, transform, seed=5) for _ in range(2))
    for dataset in (first, second):
        dataset.set_epoch(1)
    second[1]
    assert (first[0]["image"] == second[0]["image"]).all()
    assert first[0]["label"].shape == (4, 4)
    assert (first[0]["case"], first[1]["slice"]) == (0, 4)
    before = first[0]["image"]
    first.set_epoch(2)
    assert not (first[0]["image"] == before).all()
    with pytest.raises(BreastkitError, match="There is no slice"):
        LesionSlices([], transform)


def test_padding_keeps_the_largest_boxes():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 9, 9], [0, 0, 5, 5]], np.float32)
    assert PadBoxesd(rows=2)({"label": boxes})["label"].tolist() == [[0, 0, 9, 9], [0, 0, 5, 5]]


def batch_of_squares(side=224):
    """Slices with a bright box each, but the last, which has none."""
    images, boxes = torch.zeros(4, 3, side, side), torch.zeros(4, 5, 4)
    for number, (x0, y0, x1, y1) in enumerate([(0, 0, 20, 30), (190, 100, 220, 140), (80, 200, 120, 224)]):
        images[number, 2, y0:y1, x0:x1] = 1
        boxes[number, 0] = torch.tensor([x0, y0, x1, y1])
    return {"image": images, "label": boxes}


def test_windows_keep_their_boxes():
    batch, sides = batch_of_squares(), set()
    for seed in range(40):
        torch.manual_seed(seed)
        images, boxes = RandWindows()(batch, "cpu")
        sides.add(images.shape[-1])
        assert images.shape[2] == images.shape[3]
        assert boxes.shape == batch["label"].shape
        assert not boxes[3].any()
        for image, own in zip(images[:3], boxes[:3], strict=True):
            truth = slice_boxes(image[2].numpy() > 0.5)
            assert truth
            if own.any():
                assert own[0].tolist() == truth[0]
                assert not own[1:].any()
    assert sides == {128, 160, 192, 224}


def test_whole_slices_where_windows_are_not_wanted_or_too_large():
    batch = batch_of_squares()
    assert RandWindows(whole=1.0)(batch)[0].shape == (4, 3, 224, 224)
    assert RandWindows((224, 256), whole=0.0)(batch)[0].shape == (4, 3, 224, 224)
    torch.manual_seed(3)
    first = RandWindows(whole=0.0)(batch)
    torch.manual_seed(3)
    assert all(torch.equal(one, other) for one, other in zip(first, RandWindows(whole=0.0)(batch), strict=True))
