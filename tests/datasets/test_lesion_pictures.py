import numpy as np
import pytest
import torch
from tests.bundles.tiny import tiny_pictures

from breastkit.cases import read_cases
from breastkit.datasets.lesion_pictures import LesionPictures, masked, of_classes, unseen_pictures
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.transforms import LoadPictured

LOAD = LoadPictured(["image", "label"], allow_missing_keys=True)
TWO = ("benign", "malignant")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    made = tiny_pictures(folder, training=4, others=1)
    for item in made.training:
        # Another mask than the true one: a column of its own.
        mask = np.zeros((28, 36), np.uint8)
        mask[:, int(item["case"].split("_")[1])] = 255
        item["predicted_mask"] = str(write_png(folder / "predicted" / f"{item['case']}.png", mask))
    return made


def test_an_item_is_picture_class_and_place(cases):
    items = of_classes(cases.training, TWO)
    pictures = LesionPictures(items, LOAD, classes=TWO)
    assert len(pictures) == 4
    assert [pictures[place]["label"] for place in range(4)] == [0, 1, 0, 1]
    assert [pictures[place]["case"] for place in range(4)] == [0, 1, 2, 3]
    assert pictures[0]["image"].shape == (1, 28, 36)
    assert pictures.data == items


@pytest.mark.parametrize(("masks", "area"), [("predicted", 28), ("none", 0)])
def test_the_transform_gets_the_mask_asked_for(cases, masks, area):
    seen = []

    def look(item):
        seen.append(item["label"].clone())
        return item

    pictures = LesionPictures(of_classes(cases.training, TWO), LOAD, look, classes=TWO, masks=masks)
    assert pictures[2]["label"] == 0
    assert seen[0].shape == (1, 28, 36)
    assert seen[0].sum() == area


def test_true_masks_are_those_that_were_drawn(cases):
    (item, *_), (was, *_) = masked(cases.training, "truth"), cases.training
    assert item["mask"] == was["label"]
    assert "mask" not in masked(cases.training, "none")[0]


def test_random_transforms_follow_the_epoch(cases):
    from monai.transforms import RandGaussianNoised

    noise = RandGaussianNoised("image", prob=1.0)
    pictures = LesionPictures(of_classes(cases.training, TWO), LOAD, noise, classes=TWO, seed=3)
    drawn = []
    for epoch in (1, 1, 2):
        pictures.set_epoch(epoch)
        drawn.append(pictures[1]["image"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_what_a_fold_leaves_aside(cases):
    assert unseen_pictures(cases.path.parent, None) == []
    assert sorted(unseen_pictures(cases.path.parent, 1)) == ["training_1", "training_3"]
    assert len(read_cases(cases.path).training) == 5


def test_what_cannot_be_is_said(cases):
    with pytest.raises(BreastkitError, match=r"is of class 'normal', none of benign, malignant"):
        LesionPictures(cases.training, LOAD, classes=TWO)
    with pytest.raises(BreastkitError, match=r"test_0\.png has no predicted mask; make the masks with"):
        LesionPictures(of_classes(cases.test, TWO), LOAD, classes=TWO)
    with pytest.raises(BreastkitError, match="masks is 'drawn'; choose one of predicted, truth, none"):
        masked(cases.test, "drawn")
