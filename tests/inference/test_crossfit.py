import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests.bundles.tiny import tiny_pictures

from breastkit.cases import read_cases
from breastkit.errors import BreastkitError
from breastkit.images import stem
from breastkit.inference.crossfit import crossfit
from breastkit.networks import from_file
from breastkit.training import save_weights

SEGMENTER = Path(__file__).parents[2] / "bundles/breast_us_lesion_segmentation"


def fold_model(folder, logit, unseen, **facts):
    """A segmenter that gives one logit everywhere, so that its masks tell who made them."""
    torch.manual_seed(0)
    network = from_file(SEGMENTER / "configs/networks.json", "light").eval()
    last = network.network.head[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, logit)
    given = {"architecture": "light", "image_size": 32, "threshold": 0.9, "run": folder.name, "case_list_hash": "x"}
    return str(save_weights(folder, network, **{**given, "unseen": unseen, **facts}))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    tiny_pictures(folder, training=4, others=1)
    return folder


@pytest.fixture(scope="module")
def weights(source, tmp_path_factory):
    """Fold 0 outlines everything and fold 1 nothing; their mean is everything."""
    root = tmp_path_factory.mktemp("weights")
    items = read_cases(source).training
    # The validation list is trained on with every fold.
    unseen = [[stem(item["image"]) for item in items if item["fold"] == fold] for fold in (0, 1)]
    return [fold_model(root / f"fold{fold}", logit, unseen[fold]) for fold, logit in ((0, 9.0), (1, -2.0))]


@pytest.fixture(scope="module")
def without_validation(source):
    """A cross-validated set has no validation list."""
    content = json.loads((source / "dataset.json").read_text())
    place = source / "folds.json"
    place.write_text(json.dumps({**content, "validation": []}))
    return place


@pytest.fixture(scope="module")
def made(without_validation, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "masks of folds"
    assert crossfit(str(without_validation), out=str(out), weights=weights) == out / "dataset.json"
    return read_cases(out)


def test_masks_are_of_the_model_that_has_not_seen_the_picture(made, without_validation):
    before = read_cases(without_validation)
    assert len(made.training) == len(before.training) == 5
    for item, was in zip(made.training, before.training, strict=True):
        assert {name: item[name] for name in was} == was
        mask = cv2.imread(item["predicted_mask"], cv2.IMREAD_UNCHANGED)
        assert mask.shape == (28, 36)
        assert set(np.unique(mask)) == {255 if item["fold"] == 0 else 0}
        assert item["predicted_by"].startswith(f"fold{item['fold']} ")
        truth = cv2.imread(item["label"], cv2.IMREAD_UNCHANGED) > 0
        expected = 2 * truth.sum() / (truth.sum() + truth.size) if item["fold"] == 0 else float(not truth.any())
        assert item["predicted_dice"] == pytest.approx(expected, abs=1e-4)


def test_what_no_model_was_trained_on_gets_the_mean_of_all(made):
    for item in made.test:
        assert item["predicted_by"].startswith("mean of fold0 ")
        assert (cv2.imread(item["predicted_mask"], cv2.IMREAD_UNCHANGED) == 255).all()
    # Thresholds stored with the models were chosen on the pictures they outline here.
    assert made.facts["predicted_masks"]["threshold"] == 0.5


def test_the_list_can_be_moved_with_its_source(made):
    content = json.loads(made.path.read_text())
    for item in content["training"]:
        assert not Path(item["predicted_mask"]).is_absolute()
        assert item["predicted_mask"].startswith("masks/")


def test_pictures_all_models_have_seen_are_refused(source, tmp_path):
    cases = read_cases(source)
    weights = [
        fold_model(
            tmp_path / "w" / f"fold{fold}",
            0.0,
            [stem(item["image"]) for item in cases.training if item["fold"] == fold],
            case_list_hash=cases.hash,
        )
        for fold in (0, 1)
    ]
    with pytest.raises(BreastkitError, match=r"validation_0\.png was seen by all of the 2 fold models"):
        crossfit(str(source), out=str(tmp_path / "out"), weights=weights)
    with pytest.raises(BreastkitError, match=r"training_\d\.png was seen by all of the 1 fold models"):
        crossfit(str(source), out=str(tmp_path / "out"), weights=weights[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_another_set_gets_the_mean_of_all(source, tmp_path):
    others = [fold_model(tmp_path / f"w{number}", logit, ["elsewhere"]) for number, logit in enumerate((9.0, -9.1))]
    made = read_cases(crossfit(str(source), out=str(tmp_path / "out"), weights=others))
    assert all(item["predicted_by"].startswith("mean of w0 ") for _, item in made.items())


def test_a_set_that_may_be_theirs_in_part_is_pointed_out(without_validation, weights, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("breastkit"), "propagate", True)
    crossfit(str(without_validation), out=str(tmp_path / "out"), weights=weights)
    assert "2 of 7 pictures are not among those the fold models name as unseen" in caplog.text


def test_true_masks_are_marked_as_an_upper_bound(source, tmp_path):
    made = read_cases(crossfit(str(source), out=str(tmp_path / "out"), truth=True))
    for _, item in made.items():
        assert "upper bound" in item["predicted_by"]
        masks = [cv2.imread(item[key], cv2.IMREAD_UNCHANGED) for key in ("predicted_mask", "label")]
        assert np.array_equal(*masks)
    assert "upper bound" in made.facts["predicted_masks"]["by"]


def test_what_cannot_be_is_said(source, weights, tmp_path):
    with pytest.raises(BreastkitError, match="name another folder with --out"):
        crossfit(str(source), out=str(source), weights=weights)
    shipped = fold_model(tmp_path / "w", 0.0, [])
    with pytest.raises(BreastkitError, match="does not say which pictures it has not seen"):
        crossfit(str(source), out=str(tmp_path / "out"), weights=[shipped])
    with pytest.raises(BreastkitError, match="does not exist"):
        crossfit(str(source), out=str(tmp_path / "out"), weights=[str(tmp_path / "nowhere.pt")])
