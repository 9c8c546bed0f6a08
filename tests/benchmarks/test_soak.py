"""Many clients at once: what is counted, and the server under them."""

import json

import pytest
import requests

from benchmarks.soak import Soak, soak_server
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


def test_growth_is_told_from_a_warm_up():
    steady = Soak(memory=[100.0 + 20 * number for number in range(40)] + [900.0, 905.0] * 30)
    assert abs(steady.growth) < 0.01
    assert abs(steady.slope) < 1
    growing = Soak(memory=[400.0 + number for number in range(100)])
    assert growing.growth > 0.05
    assert growing.slope == pytest.approx(60)


def test_too_short_a_soak_is_refused(tmp_path):
    with pytest.raises(UsageError):
        soak_server(seconds=1, out=str(tmp_path))


@pytest.mark.slow
def test_the_server_under_six_clients(tmp_path):
    told = soak_server(seconds=20, clients=6, out=str(tmp_path))
    statuses = json.loads((tmp_path / "soak.json").read_text())["statuses"]
    assert all(one["200"] > 0 for one in statuses.values())
    assert len(statuses) == 6
    assert "MiB a minute" in told
