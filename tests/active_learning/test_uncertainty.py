import numpy as np

from breastkit.active_learning import uncertainty_of


def test_how_unsure_an_outline_is():
    assert uncertainty_of(np.array([0.0, 1.0])) == 0
    assert uncertainty_of(np.array([0.0, 0.5])) == 1
    assert uncertainty_of(np.zeros(4)) == 0


def test_surroundings_that_are_surely_outside_change_nothing():
    small = np.array([0.3, 0.9])
    assert uncertainty_of(np.append(small, np.full(100, 0.01))) == uncertainty_of(small)
