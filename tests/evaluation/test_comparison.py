import json

import numpy as np
import pandas as pd
import pytest

from breastkit.errors import BreastkitError, UsageError
from breastkit.evaluation.comparison import compare_runs, holm, mean_table, read_methods, smaller_is_better
from breastkit.evaluation.comparison_page import parallel_coordinates


def run(folder, *, seed, better=0.0, cases=12, start=0, **facts):
    """An evaluated run; `better` is added to what every case has by nature."""
    nature = np.random.default_rng(0).uniform(0.5, 0.8, 100)[start : start + cases]
    noise = np.random.default_rng(seed).normal(0, 0.01, cases)
    table = pd.DataFrame(
        {
            "case": [f"{number:03d}" for number in range(start, start + cases)],
            "dice": nature + better + noise,
            "hd95_mm": 20 - 10 * (nature + better + noise),
        }
    )
    (folder / "evaluation").mkdir(parents=True)
    table.to_csv(folder / "evaluation" / "metrics.csv", index=False)
    (folder / "evaluation" / "summary.json").write_text(json.dumps(facts))
    return folder


def tables(out):
    return pd.read_csv(out / "comparison.csv"), pd.read_csv(out / "tests.csv"), (out / "comparison.md").read_text()


def test_two_runs_get_means_intervals_tests_and_a_plot(tmp_path):
    run(tmp_path / "runs" / "a", seed=1, better=0.1, architecture="unet", case_list_hash="x")
    run(tmp_path / "runs" / "b", seed=2, architecture="unetpp", case_list_hash="x")
    compare_runs([str(tmp_path / "runs")], out=str(tmp_path / "out"))
    means, tests, text = tables(tmp_path / "out")
    assert list(means["method"].unique()) == ["unet", "unetpp"]
    assert set(means["metric"]) == {"dice", "hd95_mm"}
    assert (means["low"] < means["mean"]).all()
    assert (means["mean"] < means["high"]).all()
    row = tests.set_index("metric").loc["dice"]
    assert row["difference"] == pytest.approx(0.1, abs=0.02)
    assert row["cases"] == 12
    assert row["p_value"] < 0.01
    assert tests.set_index("metric").loc["hd95_mm", "difference"] < 0
    assert "| unet | 12 |" in text
    assert "different case lists" not in text
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 5000


def test_the_json_holds_what_the_tables_hold(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        run(tmp_path / "runs" / name, seed=seed, architecture=name, case_list_hash="x")
    compare_runs([str(tmp_path / "runs")], out=str(tmp_path / "out"))
    means, tests, _ = tables(tmp_path / "out")
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["methods"]["a"] | {"means_with_95_interval": None} == {
        "runs": ["a"],
        "case_lists": ["x"],
        "cases": 12,
        "means_with_95_interval": None,
    }
    for row in means.itertuples():
        figures = found["methods"][row.method]["means_with_95_interval"][row.metric]
        assert figures == pytest.approx([row.mean, row.low, row.high])
    for row in tests.itertuples():
        test = found["paired_tests"][row.metric]["a against b"]
        assert test["difference"] == pytest.approx([row.difference, row.low, row.high])
        assert (test["cases"], test["p_value"], test["p_holm"]) == (row.cases, row.p_value, row.p_holm)


def test_the_page_shows_settings_figures_differences_and_runs(tmp_path):
    for number, (name, rate) in enumerate((("a", 0.001), ("b", 0.01), ("c", 0.1))):
        folder = run(tmp_path / "runs" / name, seed=number, better=0.02 * number, architecture=name, case_list_hash="x")
        link = f"https://mlflow.example/#/experiments/1/runs/{name}"
        settings = {"learning_rate": rate, "seed": 0, "case_list_hash": name}
        (folder / "run.json").write_text(json.dumps({"link": link, "settings": settings}))
    methods = read_methods([tmp_path / "runs"])
    metrics = list(methods[0].table.columns)
    drawing = parallel_coordinates(methods, mean_table(methods, metrics), metrics)
    said = [text.get_text() for text in drawing.axes[0].texts]
    # What is the same in all, and hashes, have no axis.
    assert [name for name in ("learning_rate", "seed", "case_list_hash", "dice") if name in said] == [
        "learning_rate",
        "dice",
    ]
    assert {"0.001", "0.1"} <= set(said)
    compare_runs([str(tmp_path / "runs")], out=str(tmp_path / "out"))
    page = (tmp_path / "out" / "index.html").read_text()
    assert "3 methods side by side" in page
    assert '<a href="https://mlflow.example/#/experiments/1/runs/b">b</a>' in page
    assert page.count("<img") == 1 + len(metrics)


def test_nothing_to_compare_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="needs RUNS"):
        compare_runs(out=str(tmp_path / "out"))
    with pytest.raises(BreastkitError, match="no MLflow to ask for breasts"):
        compare_runs(out=str(tmp_path / "out"), experiment="breasts")


def test_metrics_can_be_chosen(tmp_path):
    runs = [str(run(tmp_path / name, seed=seed)) for name, seed in (("a", 1), ("b", 2))]
    compare_runs(runs, out=str(tmp_path / "out"), metrics=["hd95_mm"])
    means, tests, text = tables(tmp_path / "out")
    assert set(means["metric"]) == set(tests["metric"]) == {"hd95_mm"}
    assert "dice" not in text
    with pytest.raises(BreastkitError, match="auc is no metric that all runs have; choose among dice, hd95_mm"):
        compare_runs(runs, out=str(tmp_path / "none"), metrics=["auc"])
    assert not (tmp_path / "none").exists()


def test_folds_of_an_architecture_are_one_method(tmp_path):
    for fold in range(3):
        run(tmp_path / f"fold{fold}", seed=fold, start=4 * fold, cases=4, architecture="unet", fold=fold)
    run(tmp_path / "other", seed=9, architecture="unet")
    methods = read_methods([tmp_path])
    assert [method.name for method in methods] == ["unet, 3 folds", "unet"]
    assert [len(method.table) for method in methods] == [12, 12]


def test_folds_of_another_split_are_another_method(tmp_path):
    for name in ("grouped", "random"):
        run(tmp_path / name, seed=1, architecture="unet", fold=0, case_list_hash=name)
    names = [method.name for method in read_methods([tmp_path])]
    assert names == ["unet, fold 0 (grouped)", "unet, fold 0 (random)"]


def test_a_case_evaluated_in_several_folds_counts_once(tmp_path):
    for fold in range(2):
        run(tmp_path / f"fold{fold}", seed=fold, cases=6, architecture="unet", fold=fold)
    (method,) = read_methods([tmp_path])
    assert len(method.table) == 6


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for name in ("seed 1", "seed 2"):
        run(tmp_path / name, seed=1, architecture="unet")
    assert [method.name for method in read_methods([tmp_path])] == ["unet (seed 1)", "unet (seed 2)"]


def test_a_single_run_has_no_tests(tmp_path):
    run(tmp_path / "a", seed=1)
    compare_runs([str(tmp_path / "a")], out=str(tmp_path / "out"))
    means, tests, text = tables(tmp_path / "out")
    assert tests.empty
    assert set(means["method"]) == {"a"}
    assert "Paired" not in text


def test_other_cases_are_pointed_out_and_compared_on_common_ones(tmp_path):
    run(tmp_path / "a", seed=1, architecture="a", case_list_hash="x")
    run(tmp_path / "b", seed=1, start=6, architecture="b", case_list_hash="y")
    compare_runs([str(tmp_path / "a"), str(tmp_path / "b")], out=str(tmp_path / "out"))
    _, tests, text = tables(tmp_path / "out")
    assert set(tests["cases"]) == {6}
    assert "different case lists" in text


def test_errors_are_compared_by_their_size(tmp_path):
    run(tmp_path / "a", seed=1)
    table = pd.DataFrame({"case": ["1", "2"], "volume_error_ml": [-30.0, 30.0]})
    table.to_csv(tmp_path / "a" / "evaluation" / "metrics.csv", index=False)
    (method,) = read_methods([tmp_path / "a"])
    assert method.table["absolute_volume_error_ml"].tolist() == [30, 30]


def test_pictures_with_a_lesion_are_compared_by_themselves(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        path = run(tmp_path / name, seed=seed, architecture=name) / "evaluation" / "metrics.csv"
        table = pd.read_csv(path, dtype={"case": str})
        table["lesion"] = table.index < 8
        table.loc[8:, "dice"] = [1.0, 0.0, 1.0, 1.0]
        table.to_csv(path, index=False)
    compare_runs([str(tmp_path / "a"), str(tmp_path / "b")], out=str(tmp_path / "out"))
    means, tests, _ = tables(tmp_path / "out")
    cases = means[means["method"] == "a"].set_index("metric")["cases"]
    assert (cases["dice_lesions"], cases["dice"]) == (8, 12)
    assert tests.set_index("metric").loc["dice_lesions", "cases"] == 8


def test_holm_allows_for_the_number_of_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    adjusted = holm([0.5, float("nan"), 0.9])
    assert adjusted[::2] == pytest.approx([1.0, 1.0])
    assert np.isnan(adjusted[1])


def test_direction_is_known_by_the_name():
    assert [smaller_is_better(name) for name in ("dice", "hd95_mm", "volume_error_ml", "auc")] == [
        False,
        True,
        True,
        False,
    ]


def test_what_cannot_be_compared_is_said(tmp_path):
    with pytest.raises(BreastkitError, match="is not a folder"):
        compare_runs([str(tmp_path / "none")], out=str(tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BreastkitError, match="evaluate the run first"):
        compare_runs([str(tmp_path / "empty")], out=str(tmp_path / "out"))
    runs = [run(tmp_path / "a", seed=1), run(tmp_path / "b", seed=1, start=50)]
    with pytest.raises(BreastkitError, match="no common case"):
        compare_runs([str(path) for path in runs], out=str(tmp_path / "out"))
    (runs[0] / "evaluation" / "metrics.csv").write_text("case,auc\n1,0.5\n")
    with pytest.raises(BreastkitError, match="no metric in common"):
        compare_runs([str(path) for path in runs], out=str(tmp_path / "out"))
    (runs[0] / "evaluation" / "metrics.csv").write_text("")
    with pytest.raises(BreastkitError, match="is no table"):
        compare_runs([str(path) for path in runs], out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
