"""Finding benchmarks and running one by name; what each measures is its own business."""

import json
from functools import partial

import pytest

from benchmarks import candidate
from benchmarks.run import available_benchmarks, run_benchmarks
from breastkit.errors import BreastkitError, UsageError


def test_every_benchmark_says_what_it_measures():
    available = available_benchmarks()
    assert "letterbox" in available
    assert "run" not in available
    assert all(available.values())


def test_the_list_names_each():
    assert [line.partition(":")[0] for line in run_benchmarks(["list"]).splitlines()] == list(available_benchmarks())


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UsageError, match="no benchmark 'leterbox'; did you mean letterbox\\?"):
        run_benchmarks(["leterbox"])


def test_figures_are_kept_as_the_cards_want_them(tmp_path, monkeypatch):
    monkeypatch.setattr(candidate, "candidate_rule_recovery", partial(candidate.candidate_rule_recovery, cases=2))
    lines = run_benchmarks(["candidate"], out=str(tmp_path))
    kept = json.loads((tmp_path / "candidate" / "summary.json").read_text())
    assert kept["command"] == "breastkit bench candidate"
    assert kept["cases"] == 2
    assert lines.startswith(f"candidate: hits a lesion in {kept['found']} of {kept['with_lesions']}")


def test_one_that_cannot_run_stops_no_other_unless_it_was_named(monkeypatch):
    monkeypatch.setenv("BREASTKIT_DATA", "nowhere")
    monkeypatch.setattr("benchmarks.run.available_benchmarks", lambda: {"duke": "", "candidate": ""})
    monkeypatch.setattr(candidate, "candidate_rule_recovery", partial(candidate.candidate_rule_recovery, cases=2))
    lines = run_benchmarks()
    assert "duke: not run: BREASTKIT_DATA names no folder" in lines
    assert "candidate: hits" in lines
    with pytest.raises(BreastkitError, match="BREASTKIT_DATA names no folder"):
        run_benchmarks(["duke"])
