"""Inference and evaluation of the ultrasound bundle: results lie where the picture lies, bad pictures are named."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from PIL import Image

from breastkit.cases import write_cases
from breastkit.errors import sentence_of
from breastkit.images import write_png
from breastkit.metrics import dice
from breastkit.training import save_weights

BUNDLE = Path(__file__).parents[2] / "bundles" / "breast_us_lesion_segmentation"
COLUMNS = ["file", "mask", "area_px", "x_min", "y_min", "x_max", "y_max", "confidence"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a network without any, whose logits are the preprocessed picture: what is bright is the lesion."""
    network = torch.nn.Identity()
    return save_weights(tmp_path_factory.mktemp("w"), network, architecture="identity", image_size=64, threshold=0.8)


def picture(shape=(48, 80)):
    """A dark picture with a bright block, no flip or turn of which lies on itself, and the block."""
    truth = np.zeros(shape, bool)
    truth[shape[0] // 8 : shape[0] // 3, shape[1] // 2 : shape[1] * 3 // 4] = True
    gray = np.random.default_rng(0).normal(20, 2, shape)
    gray[truth] = 220
    return gray.astype(np.uint8), truth


def workflow(*names, **options):
    """A workflow with the network that passes its input on."""
    fixed = {"network_def": {"_target_": "torch.nn.Identity"}, "backend": "torch"}
    configs = [str(BUNDLE / "configs" / f"{name}.json") for name in names]
    return create_workflow(config_file=configs, workflow_type="infer", **{**fixed, **options})


def infer(place, out, weights, **options):
    opened = workflow("inference", dataset_dir=str(place), output_dir=str(out), ckpt_path=str(weights), **options)
    opened.run()
    return out


def rows(path):
    return list(csv.DictReader(path.open()))


def gray(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def formats(weights, tmp_path_factory):
    """Outputs for one picture saved in many ways."""
    root = tmp_path_factory.mktemp("formats")
    (root / "in").mkdir()
    array, _ = picture()
    plain = Image.fromarray(array)
    for end in ("png", "jpg", "tif", "bmp"):
        plain.save(root / "in" / f"plain_{end}.{end}")
    Image.fromarray(array.astype(np.uint16) * 16).save(root / "in" / "sixteen.png")
    plain.convert("P").save(root / "in" / "palette.png")
    plain.convert("RGB").convert("CMYK").save(root / "in" / "cmyk.jpg", quality=95)
    plain.convert("RGBA").save(root / "in" / "alpha.png")
    plain.save(root / "in" / "moving.png", save_all=True, append_images=[Image.fromarray(255 - array)])
    plain.save(root / "in" / "plain_png_mask.png")
    plain.save(root / "in" / "plain_png_overlay.png")
    infer(root / "in", root / "out", weights, save_probability=True)
    return root


@pytest.mark.parametrize(
    "name", ["plain_png", "plain_jpg", "plain_tif", "plain_bmp", "sixteen", "palette", "cmyk", "alpha", "moving"]
)
def test_masks_have_the_size_of_the_picture(formats, name):
    array, truth = picture()
    mask = gray(formats / "out" / f"{name}_mask.png")
    assert mask.shape == array.shape
    assert set(np.unique(mask)) == {0, 255}
    assert dice(mask, truth) > 0.93
    assert gray(formats / "out" / f"{name}_overlay.png").shape == (*array.shape, 3)
    probability = gray(formats / "out" / f"{name}_probability.png")
    assert probability.shape == array.shape
    assert probability[truth].mean() > 2 * probability[~truth].mean()


def test_one_row_a_picture(formats):
    table = rows(formats / "out" / "predictions.csv")
    assert list(table[0]) == COLUMNS
    assert len(table) == 9
    row = next(row for row in table if row["file"] == "plain_png.png")
    mask = gray(formats / "out" / row["mask"])
    y, x = np.nonzero(mask)
    assert [int(row[key]) for key in COLUMNS[2:7]] == [np.count_nonzero(mask), x.min(), y.min(), x.max(), y.max()]
    assert 0.8 <= float(row["confidence"]) <= 1


def test_masks_and_earlier_outputs_are_left_aside_and_that_is_said(formats):
    problems = {row["input"]: row["problem"] for row in rows(formats / "out" / "problems.csv")}
    assert problems == {
        "plain_png_mask.png": "left aside: a mask, by its name",
        "plain_png_overlay.png": "left aside: an output of an earlier run, by its name",
    }


@pytest.mark.parametrize("shape", [(2, 2), (3, 200), (200, 3), (301, 97)])
def test_any_shape(weights, tmp_path, shape):
    write_png(tmp_path / "x.png", np.random.default_rng(0).integers(0, 255, shape))
    out = infer(tmp_path / "x.png", tmp_path / "out", weights)
    assert gray(out / "x_mask.png").shape == shape


@pytest.mark.slow
def test_a_huge_picture(weights, tmp_path):
    array, truth = picture((8000, 8000))
    write_png(tmp_path / "x.png", array)
    out = infer(tmp_path / "x.png", tmp_path / "out", weights, save_overlays=False)
    mask = gray(out / "x_mask.png")
    assert mask.shape == (8000, 8000)
    assert dice(mask, truth) > 0.93


def test_bad_pictures_are_named_and_the_others_finished(weights, tmp_path):
    folder = tmp_path / "in"
    array, _ = picture()
    write_png(folder / "good.png", array)
    write_png(folder / "dot.png", array[:1, :1])
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:300])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    with pytest.raises(Exception, match="dataset") as caught:
        infer(folder, tmp_path / "out", weights)
    sentence = sentence_of(caught.value)
    assert sentence.startswith("4 of 5 pictures could not be used, the others are done: ")
    assert "only 1x1 pixels" in sentence
    assert [row["file"] for row in rows(tmp_path / "out" / "predictions.csv")] == ["good.png"]
    problems = {row["input"] for row in rows(tmp_path / "out" / "problems.csv")}
    assert problems == {"dot.png", "cut.png", "empty.png", "text.jpg"}
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"good_mask.png", "good_overlay.png"}


def test_an_empty_mask_has_no_box(weights, tmp_path):
    write_png(tmp_path / "x.png", picture()[0])
    out = infer(tmp_path / "x.png", tmp_path / "out", weights, threshold=1.1)
    row = rows(out / "predictions.csv")[0]
    assert [row[key] for key in COLUMNS[2:]] == ["0", "", "", "", "", "0.0"]
    assert not gray(out / "x_mask.png").any()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (".", "holds nothing to run on .* name a picture or a folder with pictures directly in it"),
        ("nowhere", "does not exist"),
        ("benign", "with --output_dir"),
        ("notes.txt", "no image of a kind this bundle reads"),
    ],
)
def test_what_cannot_be_is_one_sentence(weights, tmp_path, place, words):
    """The last but one would write a mask beside the pictures, over the true one."""
    write_png(tmp_path / "benign" / "benign (1).png", picture()[0])
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(Exception, match=r".*") as caught:
        infer(tmp_path / place, tmp_path / "benign", weights)
    assert re.search(words, sentence_of(caught.value))
    assert {path.name for path in tmp_path.rglob("*.*")} == {"benign (1).png", "notes.txt"}


def test_clean_up_of_the_weights_is_used(tmp_path):
    array, _ = picture()
    array[40:43, 5:8] = 220
    write_png(tmp_path / "x.png", array)
    facts = {"architecture": "identity", "image_size": 64, "threshold": 0.8}
    for number, clean_up in enumerate((None, {"largest_only": True, "minimum_share": 0.0})):
        known = {**facts, "clean_up": clean_up} if clean_up else facts
        weights = save_weights(tmp_path / f"w{number}", torch.nn.Identity(), **known)
        out = infer(tmp_path / "x.png", tmp_path / f"out{number}", weights)
        assert bool(gray(out / "x_mask.png")[41, 6]) is (clean_up is None)


class Noisy(torch.nn.Module):
    """Passes its input on, some of it dropped when dropout is on."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout2d(0.4)
        self.gain = torch.nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, image):
        return self.dropout(self.gain * image.expand(-1, 8, -1, -1)).mean(1, keepdim=True)


def test_uncertainty_on_request(tmp_path):
    write_png(tmp_path / "x.png", picture()[0])
    facts = {"architecture": "noisy", "image_size": 64, "threshold": 0.7}
    folds = []
    for fold, gain in enumerate((0.5, 1.0, 2.0)):
        network = Noisy()
        torch.nn.init.constant_(network.gain, gain)
        folds.append(str(save_weights(tmp_path / f"fold{fold}", network, **facts)))
    network = {"_target_": "tests.bundles.test_picture_inference.Noisy"}
    for kind, backend in (("dropout", "auto"), ("folds", "torch")):
        options = {"uncertainty": kind, "samples": 4, "fold_weights": folds, "network_def": network, "backend": backend}
        out = infer(tmp_path / "x.png", tmp_path / kind, folds[1], **options)
        row = rows(out / "predictions.csv")[0]
        assert list(row) == [*COLUMNS, "uncertainty"]
        assert 0 < float(row["uncertainty"]) <= 1
        spread = gray(out / "x_uncertainty.png")
        assert spread.shape == picture()[0].shape
        assert spread.max() > 0


def test_folds_that_ship_with_the_weights_answer_together(tmp_path):
    write_png(tmp_path / "x.png", picture()[0])
    facts = {"architecture": "noisy", "image_size": 64, "threshold": 0.7}
    for place, gain in ((".", 1.0), ("fold0", 0.5), ("fold1", 3.0)):
        network = Noisy()
        torch.nn.init.constant_(network.gain, gain)
        save_weights(tmp_path / "models" / place, network, **facts)
    network = {"_target_": "tests.bundles.test_picture_inference.Noisy"}
    options = {"network_def": network, "backend": "torch", "save_probability": True}
    weights = tmp_path / "models" / "model.pt"
    together = infer(tmp_path / "x.png", tmp_path / "together", weights, **options)
    alone = infer(tmp_path / "x.png", tmp_path / "alone", weights, fold_weights=[], **options)
    assert list(rows(together / "predictions.csv")[0]) == COLUMNS
    assert not (together / "x_uncertainty.png").exists()
    assert not np.array_equal(gray(together / "x_probability.png"), gray(alone / "x_probability.png"))


@pytest.fixture(scope="module")
def evaluated(weights, tmp_path_factory):
    """An evaluation of pictures that come out well, in part, not at all, with a false mask and rightly without one."""
    root = tmp_path_factory.mktemp("evaluated")
    array, truth = picture()
    dark = np.where(truth, 21, array).astype(np.uint8)
    moved = np.roll(truth, 10, axis=1)
    cases = {
        "well": (array, truth, "benign", "a"),
        "partly": (array, moved, "benign", "a"),
        "missed": (np.full_like(dark, 20), truth, "malignant", "b"),
        "false": (array, np.zeros_like(truth), "normal", "c"),
        "nothing": (np.full_like(dark, 20), np.zeros_like(truth), "normal", "d"),
    }
    items = []
    for name, (image, label, kind, case) in cases.items():
        item = {"case": case, "class": kind, "boxes": [[1, 2, 3, 4]]}
        item |= {"image": str(root / "images" / f"{name}.png"), "label": str(root / "labels" / f"{name}.png")}
        write_png(item["image"], image)
        write_png(item["label"], label * np.uint8(255))
        items.append(item)
    lone = {"image": items[0]["image"].replace("well", "lone"), "label": items[0]["label"].replace("well", "none")}
    write_png(lone["image"], array[:, ::-1])
    write_png(root / "labels" / "small.png", truth[:20] * np.uint8(255))
    resized = {"image": str(root / "images" / "resized.png"), "label": str(root / "labels" / "small.png")}
    write_png(resized["image"], array[::-1])
    bad = [{**lone, "case": "e"}, {**resized, "case": "f"}]
    write_cases(root, {"training": items, "test": [*items, *bad]})
    options = {"dataset_dir": str(root), "output_dir": str(root / "run"), "ckpt_path": str(weights)}
    opened = workflow("inference", "evaluate", **options)
    with pytest.raises(Exception, match="dataset") as caught:
        opened.run()
    return root / "run" / "evaluation", sentence_of(caught.value), opened.evaluator.state.metrics


def test_evaluation_names_masks_that_are_missing_or_of_another_size(evaluated):
    _, sentence, _ = evaluated
    assert sentence.startswith("2 of 7 images could not be used, the others are done: ")
    assert "none.png does not exist" in sentence
    assert "small.png has shape (20, 80) but" in sentence


def test_evaluation_measures_every_image(evaluated):
    folder, _, _ = evaluated
    table = {row["image"]: row for row in rows(folder / "metrics.csv")}
    columns = ["case", "image", "class", "site", "device", "lesion", "found", "dice", "iou", "hd95_px"]
    assert list(table["well.png"]) == columns
    figures = {name: float(row["dice"]) for name, row in table.items()}
    assert figures["well.png"] > 0.93
    assert 0.2 < figures["partly.png"] < 0.8
    assert [figures[name] for name in ("missed.png", "false.png", "nothing.png")] == [0, 0, 1]
    assert (table["false.png"]["lesion"], table["false.png"]["found"]) == ("False", "True")
    assert float(table["partly.png"]["hd95_px"]) == pytest.approx(10, abs=1.5)


def test_lesion_images_and_all_images_are_told_apart(evaluated):
    folder, _, metrics = evaluated
    figures = {row["image"]: float(row["dice"]) for row in rows(folder / "metrics.csv")}
    lesions = np.mean([figures[f"{name}.png"] for name in ("well", "partly", "missed")])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["lesion_images"]["images"] == 3
    assert summary["lesion_images"]["without_mask"] == 1
    assert summary["lesion_images"]["dice"][0] == pytest.approx(lesions, abs=1e-4)
    assert summary["all_images"]["dice"][0] == pytest.approx(np.mean(list(figures.values())), abs=1e-4)
    assert metrics["lesion_dice"] == pytest.approx(lesions, abs=1e-4)
    share, low, high = summary["images_without_lesion"]["share_with_false_mask"]
    assert share == 0.5
    assert 0 < low < 0.5 < high < 1
    assert {name: part["images"] for name, part in summary["classes"].items()} == {
        "benign": 2,
        "malignant": 1,
        "normal": 2,
    }
    assert (summary["cases"], summary["split"]) == (4, "test")


def test_the_page_begins_with_the_worst(evaluated):
    folder, _, _ = evaluated
    page = (folder / "index.html").read_text()
    pictured = page[page.index('id="pictures"') :]
    order = [pictured.index(f"{name}.png:") for name in ("missed", "partly", "well", "nothing")]
    assert order == sorted(order)
    assert page.count("data:image/jpeg;base64,") == 5
    names = {path.name for path in (folder / "pictures").iterdir()}
    assert names == {"well.png", "partly.png", "missed.png", "false.png", "nothing.png"}
    assert "Share of the 2 images without lesion that got a mask" in page
