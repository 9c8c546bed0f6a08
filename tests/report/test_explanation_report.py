"""breastkit explain: figures, shares in the lesion, the sanity check, one page."""

import csv
import json

import cv2
import numpy as np
import pytest
from tests.bundles.tiny import lesion_picture
from tests.inference.ultrasound_weights import random_classifier

from breastkit import cli
from breastkit.cases import write_cases
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.report.explanation_report import explain_cases


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Six pictures in two folds, one of them normal; the mask of the first was not found."""
    folder = tmp_path_factory.mktemp("cases")
    items = []
    for number in range(6):
        kind = ("benign", "malignant")[number % 2] if number < 5 else "normal"
        gray, mask = lesion_picture(number, size=(40, 60), lesion=kind != "normal")
        item = {"case": str(number), "class": kind, "fold": 0 if number < 4 else 1}
        for key, array in (("image", gray), ("label", mask), ("predicted_mask", mask * (number > 0))):
            item[key] = str(write_png(folder / key / f"p {number}.png", array))
        items.append(item)
    return write_cases(folder, {"training": items}, facts={"name": "tiny"}).path.parent


@pytest.fixture(scope="module")
def explained(cases, tmp_path_factory):
    root = tmp_path_factory.mktemp("explained")
    weights = random_classifier(root / "weights", variant="fusion", fold=0, unseen=["p 0", "p 1", "p 2"])
    words = ["explain", str(cases), "--out", str(root / "out"), "--weights", str(weights), "--sanity-pictures", "3"]
    assert cli.main(words) == 0
    return root / "out"


def test_every_picture_has_a_row_and_a_figure(explained):
    table = list(csv.DictReader((explained / "shares.csv").open()))
    assert [row["image"] for row in table] == ["p 0", "p 1", "p 2", "p 3"]
    for row in table:
        assert 0 <= float(row["share_in_lesion"]) <= 1
        assert 0 < float(row["area_share"]) < 1
        assert row["predicted"] in ("benign", "malignant")
        figure = cv2.imread(str(explained / "figures" / f"{row['image']}.png"))
        # Three tiles side by side, with their titles above.
        assert figure.shape == (22 + 404, 3 * 404, 3)


def test_the_summary_has_intervals_and_says_what_was_not_trained_on(explained):
    summary = json.loads((explained / "summary.json").read_text())
    assert (summary["variant"], summary["fold"], summary["pictures"]) == ("fusion", 0, 4)
    assert summary["pictures_not_trained_on"] == 3
    mean, low, high = summary["mean_share_in_lesion"]
    assert low <= mean <= high
    shares = [float(row["share_in_lesion"]) for row in csv.DictReader((explained / "shares.csv").open())]
    assert mean == pytest.approx(np.mean(shares), abs=1e-4)


def test_random_weights_change_the_maps(explained):
    rows = list(csv.DictReader((explained / "sanity.csv").open()))
    assert len(rows) == 6 * 3
    for name in ("correlation", "correlation_beyond_mean"):
        last = [float(row[name]) for row in rows if float(row["random_share"]) == 1]
        assert np.mean(last) < 0.95
    summary = json.loads((explained / "summary.json").read_text())["correlation_with_random_weights"]
    assert [stage["random_share"] for stage in summary][-1] == 1
    assert summary[-1]["correlation_beyond_mean"][0] == pytest.approx(np.mean(last), abs=1e-4)
    assert cv2.imread(str(explained / "sanity.png")).shape[1] > 600


def test_the_page_stands_alone(explained):
    page = (explained / "index.html").read_text()
    assert "What fusion looked at" in page
    assert page.count("data:image/jpeg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_weights_of_another_variant_and_missing_masks_are_sentences(cases, tmp_path):
    weights = random_classifier(tmp_path / "image", variant="image", size=32, fold=1)
    with pytest.raises(BreastkitError, match="holds the variant image; choose --variant image"):
        explain_cases(str(cases), out=str(tmp_path / "out"), weights=str(weights))
    bare = tmp_path / "bare"
    gray, mask = lesion_picture(1)
    items = [
        {
            "image": str(write_png(bare / f"{fold}.png", gray)),
            "label": str(write_png(bare / f"{fold}_mask.png", mask)),
            "case": str(fold),
            "class": "benign",
            "fold": fold,
        }
        for fold in (0, 1)
    ]
    write_cases(bare, {"training": items})
    fusion = random_classifier(tmp_path / "fusion", variant="fusion", size=32, fold=1)
    with pytest.raises(BreastkitError, match=r"1\.png has no predicted mask.*breastkit data crossfit"):
        explain_cases(str(bare), out=str(tmp_path / "out"), weights=str(fusion))


def test_a_variant_without_weights_is_a_sentence(cases, tmp_path):
    with pytest.raises(BreastkitError, match="holds no weights of 'vision'"):
        explain_cases(str(cases), out=str(tmp_path / "out"), variant="vision")
