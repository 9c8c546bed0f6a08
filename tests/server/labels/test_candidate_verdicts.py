"""Candidates that readers keep or reject."""

import pytest
from pydantic import ValidationError

from breastkit.server.labels.candidate_verdicts import Candidate, CandidateVerdicts


def candidate(x, verdict, *, model="detector", size=10.0):
    return Candidate(model=model, center=(x, 0, 0), size=(size,) * 3, score=0.5, verdict=verdict)


def test_the_last_word_on_a_place_counts(tmp_path):
    verdicts = CandidateVerdicts(tmp_path / "said")
    assert verdicts.of("one") == []
    verdicts.say("one", candidate(0, "keep"), user="anna")
    verdicts.say("one", candidate(50, "keep"))
    verdicts.say("one", candidate(2, "reject"), user="berta")
    verdicts.say("two", candidate(0, "keep", model="chain"))
    again = CandidateVerdicts(tmp_path / "said")
    found = {one["center"][0]: (one["verdict"], one["user"]) for one in again.of("one")}
    assert found == {50: ("keep", ""), 2: ("reject", "berta")}
    assert again.counts() == {"detector": {"keep": 1, "reject": 1}, "chain": {"keep": 1, "reject": 0}}


def test_what_two_models_see_in_one_place_is_said_of_each(tmp_path):
    verdicts = CandidateVerdicts(tmp_path)
    verdicts.say("one", candidate(0, "keep"))
    assert len(verdicts.say("one", candidate(0, "reject", model="chain"))) == 2


def test_no_more_are_taken_than_a_reader_looks_at(tmp_path):
    verdicts = CandidateVerdicts(tmp_path)
    for number in range(200):
        verdicts.say("one", candidate(100.0 * number, "keep"))
    with pytest.raises(Exception, match="200 candidates"):
        verdicts.say("one", candidate(-100, "keep"))
    verdicts.say("one", candidate(0, "reject"))


@pytest.mark.parametrize("change", [{"model": "../x"}, {"score": float("nan")}, {"verdict": "maybe"}, {"more": 1}])
def test_what_is_no_candidate_is_refused(change):
    with pytest.raises(ValidationError):
        Candidate(**{**candidate(0, "keep").model_dump(), **change})
