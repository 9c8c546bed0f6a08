"""What a cohort costs: the sums, the steps, and the page that states them."""

import json
from pathlib import Path

import pytest
from tests.bundles.tiny import tiny_studies

from benchmarks.cohort import ASSUMED, SIZES, extrapolated, measure_mri
from breastkit.models.card_figures import problems

PAGE = Path(__file__).parents[2] / "tools" / "docs" / "cohorts" / "README.md"
COSTS = {
    "seconds": {"reading": 2.0, "network": 20.0, "measuring": 1.0, "writing": 2.0},
    "seconds_in_all": 25.0,
    "mb_read": 100.0,
    "mb_written": 1.0,
}


def test_what_many_studies_take_follows_from_one():
    many = extrapolated(COSTS, 7 * 24 * 3600)
    assert many["core_hours"] == 7 * 24 * 25
    assert many["cores_for_the_days"] == 25
    assert many["gpus_for_the_days"] == 20 / ASSUMED["network_times_faster_on_a_gpu"]
    assert many["cores_beside_the_gpus"] == 5
    assert (many["tb_read"], many["tb_written"]) == pytest.approx((60.48, 0.6048))
    assert many["hours_of_storage"] == pytest.approx(7 * 24 * 0.101)


def test_every_step_of_a_study_is_measured(tmp_path):
    study = tiny_studies(tmp_path / "tiny", cases=1) / "images" / "DUKE_001"
    costs = measure_mri(study, tmp_path / "out")
    assert set(costs["seconds"]) == set(COSTS["seconds"])
    assert all(seconds > 0 for seconds in costs["seconds"].values())
    assert costs["mb_read"] == pytest.approx(sum(path.stat().st_size for path in study.iterdir()) / 1e6)
    assert costs["mb_written"] > 0


def read(path):
    name, *keys = path.split("/")
    value = json.loads((PAGE.parent / "measured" / name / "summary.json").read_text())
    for key in keys:
        value = value[key]
    return value


def test_the_page_states_what_was_measured():
    assert problems(PAGE.read_text(encoding="utf-8"), read, ("What it costs",)) == []


def test_what_is_stated_of_many_follows_from_what_was_measured():
    for kind in ("mri", "us"):
        for count in SIZES:
            assert read(f"cohort/many/{kind}/{count}") == pytest.approx(
                extrapolated(read(f"cohort/{kind}"), count), rel=1e-3, abs=1e-4
            )
