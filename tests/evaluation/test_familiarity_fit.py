import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.inference.ultrasound_weights import classifier_weights, random_classifier, segmenter_weights

from breastkit import cli
from breastkit.cases import write_cases
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.inference.familiarity import read_familiarity
from breastkit.pipelines.ultrasound import run_ultrasound

# Of the small variant of three classes; the shipped one is deeper.
LAYER = "trunk.features.stages.1"


def speckle(seed):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(64, 80)), (1, 2))
    return np.clip(90 + 30 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {
        "segmenter": str(segmenter_weights(folder / "all", everything=True)),
        "classifier": str(random_classifier(folder / "fusion", variant="fusion", size=32)),
        "normal_classifier": str(random_classifier(folder / "aware", variant="mask_aware")),
    }


@pytest.fixture(scope="module")
def fitted(weights, tmp_path_factory):
    """Fitted on two hospitals, as a user does it; a third thing is stripes."""
    folder = tmp_path_factory.mktemp("cases")
    lists, seed = {"training": [], "validation": [], "test": []}, 0
    for name, count in (("training", 60), ("validation", 20), ("test", 20)):
        for number in range(count):
            image = write_png(folder / "images" / f"{name}{number}.png", speckle(seed := seed + 1))
            item = {"image": str(image), "case": f"{name}{number}", "site": "ab"[number % 2]}
            lists[name].append(item | ({"fold": 0} if name == "training" else {}))
    write_cases(folder, lists)
    for number in range(5):
        stripes = np.zeros((64, 80), np.uint8)
        stripes[:: 3 + number] = 200
        write_png(folder / "stripes" / f"{number}.png", stripes)
    out = str(folder.parent / "familiar.npz")
    words = ["--normal-classifier", weights["normal_classifier"], "--layer", LAYER, "--out", out]
    words += ["--others", str(folder / "stripes")]
    assert cli.main(["calibrate", "familiar", str(folder), *words]) == 0
    return folder


def test_what_is_like_what_was_learnt_from_is_told_from_what_is_not(fitted):
    known = read_familiarity(fitted.parent / "familiar.npz")
    assert (known.sites, known.layer) == (("a", "b"), LAYER)
    summary = json.loads((fitted.parent / "summary.json").read_text())
    assert summary["familiar"]["share_unfamiliar"][0] <= 0.1
    assert {site: one["pictures"] for site, one in summary["sites"].items()} == {"a": 10, "b": 10}
    assert set(summary["others"]) == {"noise", "drawings", "stripes"}
    for other in summary["others"].values():
        assert other["auroc"] > 0.95 and other["share_unfamiliar"][0] > 0.9


def test_the_chain_says_unfamiliar_and_abstains(fitted, weights, tmp_path):
    beside = Path(shutil.copytree(Path(weights["normal_classifier"]).parent, tmp_path / "aware"))
    (beside / "familiar.npz").write_bytes((fitted.parent / "familiar.npz").read_bytes())
    write_png(tmp_path / "in" / "scan.png", speckle(999))
    write_png(tmp_path / "in" / "stripes.png", np.tile(np.uint8([[0], [0], [220]]), (22, 80)))
    chain = weights | {"normal_classifier": str(beside), "backend": "torch", "formats": "csv,json"}
    run_ultrasound(str(tmp_path / "in"), out=str(tmp_path / "out"), explanation=False, **chain)
    table = {row["file"]: row for row in csv.DictReader((tmp_path / "out" / "results.csv").open())}
    assert (table["scan.png"]["unfamiliar"], table["stripes.png"]["unfamiliar"]) == ("0", "1")
    assert table["stripes.png"]["abstain"] == "1"
    pictures = json.loads((tmp_path / "out" / "findings.json").read_text())["pictures"]
    (stripes,) = [picture for picture in pictures if picture["file"] == "stripes.png"]
    assert stripes["distance"] > stripes["familiar_up_to"]
    assert any("unlike all pictures" in doubt for doubt in stripes["doubts"])


def test_of_other_weights_it_says_nothing(fitted, weights, tmp_path):
    other = classifier_weights(tmp_path / "other", (0.2, 0.3, 0.5), variant="mask_aware")
    (other.parent / "familiar.npz").write_bytes((fitted.parent / "familiar.npz").read_bytes())
    write_png(tmp_path / "scan.png", speckle(999))
    chain = weights | {"normal_classifier": str(other), "backend": "torch", "formats": "csv"}
    run_ultrasound(str(tmp_path / "scan.png"), out=str(tmp_path / "out"), explanation=False, **chain)
    (row,) = csv.DictReader((tmp_path / "out" / "results.csv").open())
    assert row["unfamiliar"] == ""


def test_what_cannot_be_fitted_or_read_is_a_sentence(fitted, weights, tmp_path):
    words = ["--normal-classifier", weights["normal_classifier"], "--out", str(tmp_path / "f.npz")]
    assert cli.main(["calibrate", "familiar", str(fitted), "--layer", "nothing", *words]) == 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(BreastkitError, match="cannot be read; make it with"):
        read_familiarity(tmp_path / "f.npz")
