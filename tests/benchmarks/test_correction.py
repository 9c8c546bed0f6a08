import pytest

from benchmarks.correction import correction_gain


@pytest.mark.slow
def test_registration_brings_contrast_back():
    figures = correction_gain(cases=2, seed=1, shape=(72, 72, 24), workers=1)
    moved, back = (figures[f"lesion contrast {name}"].value for name in ("with motion", "registered"))
    assert back > moved
    # Whether N4 gains anything is what the benchmark is for.
    assert figures["shading planted"].value > 0 < figures["shading left"].value
