import csv
import json

import numpy as np
import pytest

from benchmarks import active_learning
from benchmarks.active_learning import Round, share_that_reaches, simulate_annotation, split_pictures, summarise
from breastkit.cases import read_cases, write_cases
from breastkit.datasets.busi import prepare_busi
from breastkit.errors import BreastkitError
from breastkit.phantoms.us.pictures import write_us_phantoms


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotation")
    write_us_phantoms(str(folder / "phantom"), cases=16, seed=1, workers=1)
    prepare_busi(str(folder / "phantom"), str(folder / "busi"))
    return folder / "busi"


def rounds_of(curves, *, seeds=(0,)):
    return [
        Round(seed, name, share, round(100 * share), np.array([reached, reached + 0.02]))
        for seed in seeds
        for name, curve in curves.items()
        for share, reached in curve.items()
    ]


def test_every_strategy_begins_and_ends_alike_and_is_told_of(prepared, tmp_path):
    told = simulate_annotation(
        str(prepared), out=str(tmp_path), seeds=2, image_size=32, steps=12, shares=(0.3, 0.6, 1.0)
    )
    with (tmp_path / "active_learning.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 4 * 3
    for seed in ("0", "1"):
        for share in ("0.3", "1.0"):
            same = {row["dice"] for row in rows if (row["seed"], row["share"]) == (seed, share)}
            assert len(same) == 1
        labels = {row["share"]: row["labels"] for row in rows if row["seed"] == seed}
        assert sorted(map(int, labels.values())) == [int(labels[share]) for share in ("0.3", "0.6", "1.0")]
    summary = json.loads((tmp_path / "active_learning.json").read_text())
    assert summary["seeds"] == [0, 1]
    assert set(summary["reached_at_share"]) == {"random", "uncertainty", "diversity", "mix"}
    assert summary["difference"]["mix"]["share"] == 0.6
    assert (tmp_path / "active_learning.png").stat().st_size > 1000
    assert "mix reaches random's Dice at all labels" in told


def test_the_same_seed_gives_the_same_figures(prepared, tmp_path):
    options = {"seeds": 1, "first_seed": 3, "strategies": ["mix"], "image_size": 32, "steps": 4, "shares": (0.5, 1.0)}
    for name in ("a", "b"):
        simulate_annotation(str(prepared), out=str(tmp_path / name), **options)
    first, second = ((tmp_path / name / "active_learning.csv").read_text() for name in ("a", "b"))
    assert first == second


def test_a_run_that_was_stopped_goes_on_with_the_curves_that_are_there(prepared, tmp_path, monkeypatch):
    options = {"out": str(tmp_path), "seeds": 1, "image_size": 32, "steps": 2, "shares": (0.5, 1.0)}
    simulate_annotation(str(prepared), strategies=["random"], **options)
    before = (tmp_path / "active_learning.csv").read_text()
    made = []
    simulate = active_learning.simulate
    monkeypatch.setattr(
        active_learning, "simulate", lambda *words, **more: made.append(words[1]) or simulate(*words, **more)
    )
    simulate_annotation(str(prepared), strategies=["random", "mix"], **options)
    assert made == ["mix"]
    assert (tmp_path / "active_learning.csv").read_text().startswith(before)
    with pytest.raises(BreastkitError, match="other data or options; choose another --out"):
        simulate_annotation(str(prepared), strategies=["random"], **{**options, "steps": 3})


def test_no_case_is_on_both_sides_and_the_test_has_lesions(prepared):
    items = read_cases(prepared).training + read_cases(prepared).validation + read_cases(prepared).test
    items = [{**item, "case": f"group {number // 3}"} for number, item in enumerate(items)]
    pictures = active_learning.read_pictures(items, 32)
    halves = split_pictures(items, pictures, seed=0)
    assert not set(halves.pool.cases) & set(halves.test.cases)
    assert halves.test.masks.flatten(1).any(dim=1).all()
    assert len(halves.pool.cases) > len(halves.test.cases)


def test_where_a_curve_reaches_a_dice():
    curve = {0.1: 0.2, 0.5: 0.4, 1.0: 0.6}
    assert share_that_reaches(curve, 0.1) == 0.1
    assert share_that_reaches(curve, 0.3) == pytest.approx(0.3)
    assert share_that_reaches(curve, 0.6) == 1.0
    assert share_that_reaches(curve, 0.7) is None


def test_what_is_told_of_the_curves():
    curves = {"random": {0.1: 0.2, 0.6: 0.4, 1.0: 0.6}, "mix": {0.1: 0.2, 0.6: 0.7, 1.0: 0.6}}
    told = summarise(rounds_of(curves, seeds=(0, 1)), {0: ("a", "b"), 1: ("c", "d")})
    assert told["random_at_all_labels"] == pytest.approx(0.61)
    assert told["reached_at_share"]["mix"] == pytest.approx(0.5)
    assert told["reached_at_share"]["random"] == 1.0
    assert told["difference"]["mix"]["value"] == pytest.approx(0.1)
    assert told["difference"]["random"]["high"] < 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": 0}, "seeds and steps are 1 or more"),
        ({"shares": (0.5, 0.2, 1.0)}, "shares rise"),
        ({"shares": (0.5, 0.8)}, "shares rise"),
    ],
)
def test_options_that_make_no_sense_are_refused(prepared, tmp_path, options, sentence):
    with pytest.raises(BreastkitError, match=sentence):
        simulate_annotation(str(prepared), out=str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_too_few_pictures_are_refused(prepared, tmp_path):
    one = read_cases(prepared).training[:1]
    write_cases(tmp_path / "few", {"training": one}, facts={"name": "few"})
    with pytest.raises(BreastkitError, match="too few labelled pictures"):
        simulate_annotation(str(tmp_path / "few"), out=str(tmp_path / "out"))
