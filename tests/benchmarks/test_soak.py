"""Many clients at once: what is counted, and the server under them."""

import json

import numpy as np
import pytest
import requests

from benchmarks.soak import Growth, Soak, soak_server
from breastkit.errors import UsageError


def answer(status, **headers):
    found = requests.Response()
    found.status_code = status
    found.headers.update(headers)
    return found


def test_only_a_503_that_says_when_to_come_back_is_no_error():
    soak = Soak()
    soak.add("infer", answer(200), 0.5)
    soak.add("infer", answer(503, **{"Retry-After": "3"}), 0.1)
    assert soak.wrong == []
    for wrong in (answer(503), answer(500), answer(400), answer(429, **{"Retry-After": "3"})):
        soak.add("infer", wrong, 0.1)
    assert len(soak.wrong) == 4
    assert soak.seconds["infer"] == [0.5]


def test_memory_is_judged_by_the_second_half_and_by_its_own_ups_and_downs():
    rng = np.random.default_rng(0)
    warming_up = np.linspace(300, 1700, 600)
    steady = 1700 + rng.normal(0, 15, 600)
    assert Growth.of([*warming_up, *steady]).is_flat
    growing = Growth.of([*warming_up, *steady + np.linspace(0, 40, 600)])
    assert not growing.is_flat
    assert growing.rise == pytest.approx(40, abs=6)
    # The same rise, where memory goes up and down by as much from minute to minute.
    waves = 1700 + np.repeat(rng.normal(0, 60, 10), 60)
    assert Growth.of([*warming_up, *waves]).allowed > 40


def test_too_short_a_soak_is_refused(tmp_path):
    with pytest.raises(UsageError):
        soak_server(seconds=1, out=str(tmp_path))


@pytest.mark.slow
def test_the_server_under_six_clients(tmp_path):
    told = soak_server(seconds=30, clients=6, out=str(tmp_path))
    figures = json.loads((tmp_path / "soak.json").read_text())
    assert all(set(one["statuses"]) <= {"200", "503"} and one["statuses"]["200"] for one in figures["answers"].values())
    assert len(figures["answers"]) == 9
    assert figures["inferences_of_a_client"]["fewest"] > 0
    assert len(figures["memory_mib"]) == 30 and not figures["judged"]
    assert "too short" in told
