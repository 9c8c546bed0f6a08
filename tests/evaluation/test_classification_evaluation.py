import csv
import json

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from breastkit.evaluation import ClassificationEvaluation, compare_runs

CLASSES = ("benign", "malignant")
RULE = {"temperature": 1.0, "threshold": 0.3, "abstain_above": 0.9}


def picture(number, kind, score, *, mask=True):
    gray = MetaTensor(torch.full((1, 20, 30), 100.0), meta={"filename_or_obj": f"folder/{kind} ({number}).png"})
    batch = {"picture": gray, "case": f"case {number // 2}", "class": kind, "predicted_dice": 0.8}
    batch["site"] = "here" if number // 2 % 3 else "there"
    if mask:
        batch["mask_picture"] = torch.ones(1, 20, 30)
    opinion = torch.tensor([0.0, float(score)])
    return batch, {"pred": torch.stack([opinion, opinion, opinion * 0.5])}


def decollating_engine():
    """An engine whose batch and output are lists of items."""

    def step(engine, pair):
        batch, output = pair
        engine.state.batch = [batch]
        return [output]

    return Engine(step)


def evaluated(folder, *, seed=0, better=1.5, count=60, **options):
    """Evaluates made-up answers, of which a share is wrong."""
    random = np.random.default_rng(seed)
    kinds = ["malignant" if number // 2 % 2 else "benign" for number in range(count)]
    pairs = [
        picture(number, kind, random.normal(better if kind == "malignant" else -better, 2))
        for number, kind in enumerate(kinds)
    ]
    given = {"rule": RULE, "facts": {"bundle": "b", "masks": "predicted"}, **options}
    handler = ClassificationEvaluation(folder / "evaluation", classes=CLASSES, **given)
    engine = decollating_engine()
    handler.attach(engine)
    engine.run(pairs)
    return engine, list(csv.DictReader((folder / "evaluation/metrics.csv").open()))


def test_figures_are_those_of_the_table(tmp_path):
    engine, rows = evaluated(tmp_path)
    assert list(rows[0]) == [
        *("case", "image", "class", "site", "device", "p_benign", "p_malignant", "predicted", "correct"),
        *("suspicious", "uncertainty", "abstain", "mask_dice"),
    ]
    summary = json.loads((tmp_path / "evaluation/summary.json").read_text())
    called = [row["predicted"] == "malignant" for row in rows]
    assert called == [float(row["p_malignant"]) >= 0.5 for row in rows]
    flagged = [row["suspicious"] == "True" for row in rows]
    assert flagged == [float(row["p_malignant"]) >= 0.3 for row in rows] != called
    recall = np.mean([one for one, row in zip(flagged, rows, strict=True) if row["class"] == "malignant"])
    assert summary["figures"]["suspicious_recall"][0] == pytest.approx(recall, abs=1e-4)
    passed = [not one for one, row in zip(flagged, rows, strict=True) if row["class"] == "benign"]
    assert summary["figures"]["suspicious_specificity"][0] == pytest.approx(np.mean(passed), abs=1e-4)
    correct = np.array([row["predicted"] == row["class"] for row in rows])
    value, low, high = summary["figures"]["accuracy"]
    assert value == pytest.approx(correct.mean(), abs=1e-4)
    assert low < value < high
    assert engine.state.metrics["accuracy"] == pytest.approx(value, abs=1e-4)
    assert summary["confusion"]["malignant"]["malignant"] == sum(correct[[row["class"] == "malignant" for row in rows]])
    assert (summary["images"], summary["cases"]) == (60, 30)
    answered = [row["correct"] == "1" for row in rows if row["abstain"] == "False"]
    assert summary["figures"]["accuracy_answered"][0] == pytest.approx(np.mean(answered), abs=1e-4)
    assert summary["figures"]["mask_dice"][0] == 0.8
    there = [row["correct"] == "1" for row in rows if row["site"] == "there"]
    assert summary["sites"]["there"]["figures"]["accuracy"][0] == pytest.approx(np.mean(there), abs=1e-4)
    assert summary["sites"]["there"]["images"] == len(there) and "devices" not in summary
    assert len(list((tmp_path / "evaluation/pictures").iterdir())) == 60


def test_the_page_shows_figures_plots_and_the_worst_first(tmp_path):
    _, rows = evaluated(tmp_path)
    page = (tmp_path / "evaluation/index.html").read_text()
    for text in ("recall, malignant", "calibration error (ECE)", "Net benefit", "prevalence of 30%", "For research"):
        assert text in page
    true = {row["image"]: float(row[f"p_{row['class']}"]) for row in rows}
    worst = sorted(true, key=true.get)
    assert page.index(f"{worst[0]}:") < page.index(f"{worst[5]}:") < page.index(f"{worst[19]}:")
    assert f"{worst[20]}:" not in page
    assert "upper bound" not in page


def test_true_masks_are_called_an_upper_bound(tmp_path):
    _, rows = evaluated(tmp_path, facts={"masks": "truth"}, count=20)
    assert "An upper bound: it looked at true masks" in (tmp_path / "evaluation/index.html").read_text()
    assert {row["mask_dice"] for row in rows} == {"1.0"}


def test_without_a_rule_what_is_chosen_is_judged_by_other_cases(tmp_path):
    _, rows = evaluated(tmp_path, rule=None, count=200)
    summary = json.loads((tmp_path / "evaluation/summary.json").read_text())
    assert len(summary["rule"]["threshold"]) == 5
    # Each part has its own rule, so no single threshold explains all answers unless they happen to be alike.
    assert len(set(summary["rule"]["threshold"])) > 1
    recall = summary["figures"]["suspicious_recall"][0]
    assert 0.85 <= recall <= 1
    assert 0.7 < summary["figures"]["share_answered"][0] < 1
    assert len(rows) == 200


@pytest.mark.filterwarnings("error")
def test_a_single_class_is_evaluated_without_areas(tmp_path):
    handler = ClassificationEvaluation(tmp_path, classes=CLASSES, rule=RULE, facts={"masks": "none"})
    engine = decollating_engine()
    handler.attach(engine)
    engine.run([picture(number, "benign", -1, mask=False) for number in range(3)])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["figures"]["accuracy"][0] == 1
    assert summary["figures"]["auc"][0] is None
    assert summary["figures"]["mask_dice"][0] is None


def test_a_prevalence_that_cannot_be():
    with pytest.raises(ValueError, match="between 0 and 1"):
        ClassificationEvaluation("x", classes=CLASSES, prevalence=30)


def test_classifiers_are_compared_over_their_folds(tmp_path):
    for name, better in (("good", 3.0), ("poor", 0.3)):
        for fold in (0, 1):
            facts = {"bundle": "b", "architecture": name, "fold": fold, "masks": "predicted", "case_list_hash": "x"}
            folder = tmp_path / f"{name}-fold{fold}"
            evaluated(folder, seed=fold, better=better, facts=facts, count=40)
            table = (folder / "evaluation/metrics.csv").read_text()
            # Folds hold different pictures.
            (folder / "evaluation/metrics.csv").write_text(
                table.replace(" (", f" {fold} (").replace("case ", f"{fold} ")
            )
    compare_runs([str(tmp_path)], out=str(tmp_path / "out"))
    figures = {
        (row["method"], row["figure"]): row for row in csv.DictReader((tmp_path / "out/classification.csv").open())
    }
    good, poor = (figures[f"{name}, 2 folds", "auc"] for name in ("good", "poor"))
    assert good["images"] == poor["images"] == "80"
    assert float(good["low"]) > float(poor["high"])
    (test,) = csv.DictReader((tmp_path / "out/auc_tests.csv").open())
    assert float(test["difference"]) == pytest.approx(float(good["value"]) - float(poor["value"]), abs=1e-4)
    assert float(test["p_value"]) < 0.05
    text = (tmp_path / "out/comparison.md").read_text()
    assert "| method | images | accuracy | malignant recall | specificity | AUC |" in text
    means = {(row["method"], row["metric"]) for row in csv.DictReader((tmp_path / "out/comparison.csv").open())}
    assert ("good, 2 folds", "malignant_recall") in means
    assert not any(metric.startswith("p_") for _, metric in means)
