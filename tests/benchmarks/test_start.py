import pytest

from benchmarks.start import measure, seconds_until
from breastkit.errors import BreastkitError


def test_a_command_without_networks_begins_alike_both_ways():
    found = measure("models list", rounds=1)
    assert found["ratio"] == pytest.approx(found["seconds"] / found["whole_seconds"])
    assert 0 < found["seconds"] < 5


@pytest.mark.slow
def test_networks_come_sooner_without_the_rest_of_monai():
    assert seconds_until("run us", lazily=True) < 0.7 * seconds_until("run us", lazily=False)


def test_what_does_not_begin_is_a_sentence():
    with pytest.raises(BreastkitError, match="'breastkit models' does not begin"):
        seconds_until("models", lazily=True)
