import numpy as np
import pytest

from breastkit.metrics.decision_curve import net_benefit, shifted_prevalence


def test_acting_on_all_and_on_none():
    truth = np.array([1, 1, 0, 0, 0, 0], bool)
    thresholds = np.array([0.1, 0.5])
    everyone = net_benefit(np.ones(6), truth, thresholds, prevalence=0.2)
    np.testing.assert_allclose(everyone, 0.2 - 0.8 * thresholds / (1 - thresholds))
    assert not net_benefit(np.zeros(6), truth, thresholds, prevalence=0.2).any()


def test_the_best_there_is_finds_every_one_and_harms_none():
    truth = np.array([1, 0, 0], bool)
    assert net_benefit(truth.astype(float), truth, np.array([0.3]), prevalence=0.25) == pytest.approx([0.25])


def test_a_rarer_class_has_smaller_probabilities():
    probability = np.array([0.0, 0.2, 0.5, 1.0])
    shifted = shifted_prevalence(probability, before=0.5, after=0.1)
    assert shifted[2] == pytest.approx(0.1)
    assert (np.diff(shifted) > 0).all()
    np.testing.assert_allclose(shifted_prevalence(shifted, before=0.1, after=0.5), probability, atol=1e-6)
