import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from breastkit.metrics import auc, choose_operating_point, class_probabilities, most_probable, softmax, suspicious

THREE = ("normal", "benign", "malignant")


def test_probabilities_of_the_first_opinion_and_uncertainty_of_the_others():
    sure = np.array([[[4.0, -4.0]] * 5, [[0.0, 0.0]] * 5])
    probabilities, uncertainty = class_probabilities(sure)
    np.testing.assert_allclose(probabilities[0], [1 / (1 + np.exp(-8)), 1 / (1 + np.exp(8))])
    assert uncertainty[0] < 0.01
    assert uncertainty[1] == pytest.approx(1)
    # Opinions that contradict each other are uncertain although each is certain.
    torn = np.array([[[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0]]])
    probabilities, uncertainty = class_probabilities(torn)
    assert probabilities[0, 0] > 0.99
    assert uncertainty[0] == pytest.approx(1)
    assert class_probabilities(sure[:, :1])[1][1] == pytest.approx(1)


def test_a_higher_temperature_says_less():
    opinions = np.array([[[2.0, 0.0, -1.0]]])
    cold, hot = (class_probabilities(opinions, temperature)[0][0] for temperature in (0.5, 4.0))
    assert cold.max() > softmax(opinions[0, 0]).max() > hot.max()


def test_suspicious_is_what_reaches_the_operating_point_whatever_is_more_probable():
    probabilities = np.array([[0.6, 0.15, 0.25], [0.6, 0.25, 0.15], [0.1, 0.7, 0.2], [0.1, 0.1, 0.8]])
    assert suspicious(probabilities, THREE, 0.2).tolist() == [True, False, True, True]
    assert suspicious(probabilities, THREE, 0.9).tolist() == [False] * 4
    assert suspicious(probabilities[:, 1:], ("benign", "malignant"), 0.2).tolist() == [True, False, True, True]
    called = [most_probable(dict(zip(THREE, row, strict=True))) for row in probabilities.tolist()]
    assert called == ["normal", "normal", "benign", "malignant"]


def test_auc():
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 3, 60), softmax(random.normal(size=(60, 3)))
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert auc(probabilities, labels) == pytest.approx(expected)
    two = probabilities[:, 1:] / probabilities[:, 1:].sum(1, keepdims=True)
    assert auc(two, labels > 1) == pytest.approx(roc_auc_score(labels > 1, two[:, 1]))
    assert np.isnan(auc(two, np.zeros(60)))


def test_the_operating_point_is_the_highest_threshold_with_the_recall():
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    truth = np.array([1, 1, 0, 1, 0, 1, 0], bool)
    point = choose_operating_point(probability, truth, recall=0.75)
    assert point == pytest.approx((0.55, 0.75, 2 / 3))
    assert choose_operating_point(probability, truth, recall=1.0) == pytest.approx((0.35, 1.0, 1 / 3))
    assert choose_operating_point(probability, truth, recall=0.05).recall == 0.25


def test_an_operating_point_of_twenty_does_not_ask_for_one_too_many():
    probability = np.linspace(0.05, 1, 20)
    assert choose_operating_point(probability, np.ones(20, bool), recall=0.95).recall == 0.95


def test_without_malignant_ones_the_operating_point_is_a_half():
    point = choose_operating_point(np.array([0.2, 0.6]), np.zeros(2, bool))
    assert point.threshold == 0.5
    assert point.specificity == 0.5
    assert np.isnan(point.recall)
