import numpy as np
import pytest

from breastkit.metrics import calibration_error, fit_temperature, reliability_bins, softmax


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 3)) * 3
    labels = np.array([random.choice(3, p=row) for row in softmax(logits / temperature)])
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)


def test_what_is_never_wrong_gets_a_low_temperature_and_no_infinity():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert 0.05 <= fit_temperature(logits, np.array([0, 1])) < 0.2


def test_bins_and_error():
    probability = np.array([0.05, 0.05, 0.95, 0.95, 1.0])
    truth = np.array([0, 1, 1, 1, 1])
    bins = reliability_bins(probability, truth)
    assert [(one.count, one.share) for one in bins] == [(2, 0.5), (3, 1.0)]
    assert bins[1].probability == pytest.approx(2.9 / 3)
    assert calibration_error(probability, truth) == pytest.approx((2 * 0.45 + 3 * (1 - 2.9 / 3)) / 5)


def test_calibrated_probabilities_have_little_error():
    random = np.random.default_rng(1)
    probability = random.uniform(size=20000)
    assert calibration_error(probability, random.uniform(size=20000) < probability) < 0.02
    assert calibration_error(probability, random.uniform(size=20000) < probability**3) > 0.15
