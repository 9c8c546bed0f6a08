import csv
import json

import numpy as np
import pytest
from PIL import Image as Picture
from tests.inference.ultrasound_weights import classifier_weights, random_classifier, segmenter_weights

from breastkit import cli
from breastkit.cases import write_cases
from breastkit.errors import BreastkitError
from breastkit.evaluation.chain_calibration import calibrate_chain
from breastkit.images import write_png
from breastkit.inference.calibration import Calibration, read_calibration
from breastkit.pipelines.ultrasound import run_ultrasound


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Everything is a lesion, and how malignant it is looks at something, far too sure of itself."""
    folder = tmp_path_factory.mktemp("weights")
    return {
        "segmenter": str(segmenter_weights(folder / "all", everything=True)),
        "classifier": str(random_classifier(folder / "random", variant="image", size=32, temperature=0.01)),
        "normal_classifier": str(classifier_weights(folder / "aware", (0.05, 0.5, 0.45), variant="mask_aware")),
        "backend": "torch",
    }


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Sixty pictures, two of a case; the malignant ones, a third, are of another brightness."""
    folder, random = tmp_path_factory.mktemp("cases"), np.random.default_rng(0)
    items = []
    for number in range(60):
        kind = "malignant" if number // 2 % 3 == 0 else "benign"
        gray = np.clip(random.normal(60 if kind == "malignant" else 130, 40, (32, 32)), 0, 255).astype(np.uint8)
        image = write_png(folder / "images" / f"{number}.png", gray)
        items.append({"image": str(image), "case": f"case {number // 2}", "class": kind})
    write_cases(folder, {"training": [], "validation": items[:10], "test": items[10:]}, facts={"name": "mine"})
    return folder


@pytest.fixture(scope="module")
def fitted(listed, weights, tmp_path_factory):
    """The file, fitted as a user does it."""
    out = tmp_path_factory.mktemp("out") / "calibration.json"
    words = [f"--{name.replace('_', '-')}={value}" for name, value in weights.items()]
    assert cli.main(["calibrate", "us", str(listed), "--out", str(out), "--recall", "0.9", *words]) == 0
    return out


def test_the_page_shows_before_and_after_of_cases_left_out(fitted):
    facts = json.loads(fitted.read_text())
    assert (facts["pictures"], facts["cases"], facts["classes"]) == (60, 30, {"benign": 40, "malignant": 20})
    assert facts["recall"] >= 0.9
    before, after = facts["figures"]["before"], facts["figures"]["after"]
    assert after["calibration_error"][0] < before["calibration_error"][0]
    assert after["accuracy"] == before["accuracy"]
    page = fitted.with_suffix(".html").read_text()
    assert "recall of malignant at the operating point" in page and page.count("data:image") == 2
    plots = [Picture.open(fitted.with_name(f"calibration_{when}.png")) for when in ("before", "after")]
    assert plots[0].size == plots[1].size and plots[0].tobytes() != plots[1].tobytes()


def test_what_is_run_with_it_follows_it_and_names_it(fitted, listed, weights, tmp_path):
    rows, calibration = {}, read_calibration(fitted)
    for name, options in (("plain", {}), ("calibrated", {"calibration": str(fitted)})):
        out = tmp_path / name
        run_ultrasound(
            str(listed / "images"), out=str(out), explanation=False, formats="csv,json,html", **weights, **options
        )
        rows[name] = list(csv.DictReader((out / "results.csv").open()))
    flagged = 0
    for plain, row in zip(rows["plain"], rows["calibrated"], strict=True):
        probabilities = {kind: float(plain[f"p_{kind}"]) for kind in ("normal", "benign", "malignant")}
        expected = calibration.applied(probabilities)
        assert [float(row[f"p_{kind}"]) for kind in expected] == pytest.approx(list(expected.values()), abs=2e-3)
        assert row["class"] == plain["class"]
        flagged += row["suspicious"] == "1" and int(row["file"][:-4]) // 2 % 3 == 0
    assert flagged / 20 == pytest.approx(calibration.recall)
    models = json.loads((tmp_path / "calibrated" / "findings.json").read_text())["models"]
    (named,) = [model for model in models if model["role"] == "calibration"]
    assert (named["sha256"], named["limits"]["suspicious_from"]) == (calibration.sha256, calibration.suspicious_from)
    assert calibration.sha256[:12] in (tmp_path / "calibrated" / "report.html").read_text()


def test_it_is_refused_for_other_weights(fitted, listed, weights, tmp_path):
    other = weights | {"segmenter": str(segmenter_weights(tmp_path / "other", everything=False))}
    with pytest.raises(BreastkitError, match=r"was fitted for other weights \(segmenter\)"):
        run_ultrasound(str(listed / "images"), out=str(tmp_path / "out"), calibration=str(fitted), **other)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_fitted_or_read_is_a_sentence(listed, weights, tmp_path):
    with pytest.raises(BreastkitError, match="holds 2 malignant and 3 other cases; a calibration needs 10"):
        calibrate_chain(str(listed), out=str(tmp_path / "c.json"), split="validation", **weights)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BreastkitError, match="does not exist; make it with"):
        read_calibration(tmp_path / "c.json")
    (tmp_path / "c.json").write_text('{"temperature": 1}')
    with pytest.raises(BreastkitError, match="is no calibration"):
        read_calibration(tmp_path / "c.json")


def test_a_temperature_sharpens_or_softens():
    probabilities = {"normal": 0.1, "benign": 0.6, "malignant": 0.3}

    def at(temperature):
        return Calibration(temperature, 0.5, 0.5, 0.9, 0.5, {}, "").applied(probabilities)

    assert at(1.0) == pytest.approx(probabilities)
    assert at(0.5)["benign"] > 0.6 > at(2.0)["benign"] > at(2.0)["malignant"] > 0.3
    assert sum(at(3.0).values()) == pytest.approx(1)
