import numpy as np
import pytest
from sklearn import metrics

from breastkit.metrics import calibration_error, softmax
from breastkit.metrics.class_figures import class_figures, group_weights, weighted_auc

CLASSES = ("normal", "benign", "malignant")


def answers(count=150, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    logits = random.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]
    probabilities = softmax(logits)
    return probabilities, probabilities.argmax(1), labels


def test_figures_are_those_of_scikit_learn():
    probabilities, decided, labels = answers()
    figures = class_figures(probabilities, decided, labels, CLASSES, np.arange(len(labels)))
    expected = {
        "accuracy": metrics.accuracy_score(labels, decided),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, decided),
        "specificity": metrics.recall_score(labels != 2, decided != 2),
        "auc": metrics.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "calibration_error": calibration_error(probabilities[:, 2], labels == 2),
        "macro_f1": metrics.f1_score(labels, decided, average="macro"),
    }
    for index, name in enumerate(CLASSES):
        one = {"labels": [index], "average": "macro"}
        expected[f"recall_{name}"] = metrics.recall_score(labels, decided, **one)
        expected[f"precision_{name}"] = metrics.precision_score(labels, decided, **one)
        expected[f"f1_{name}"] = metrics.f1_score(labels, decided, **one)
    assert {name: interval.value for name, interval in figures.items()} == pytest.approx(expected)
    assert all(interval.low < interval.value < interval.high for interval in figures.values() if interval.high > 0.5)
    # Malignant comes first.
    assert list(figures).index("recall_malignant") < list(figures).index("recall_normal")


def test_two_classes_have_the_area_of_the_second():
    probabilities, _, labels = answers()
    two = probabilities[:, 1:] / probabilities[:, 1:].sum(1, keepdims=True)
    truth = (labels == 2).astype(int)
    figures = class_figures(two, two.argmax(1), truth, CLASSES[1:], np.arange(len(labels)))
    assert figures["auc"].value == pytest.approx(metrics.roc_auc_score(truth, two[:, 1]))
    assert "macro_f1" not in figures


def test_groups_of_one_picture_repeated_widen_the_interval():
    probabilities, decided, labels = (np.repeat(one, 4, axis=0) for one in answers(60))
    alone = class_figures(probabilities, decided, labels, CLASSES, np.arange(240))["accuracy"]
    grouped = class_figures(probabilities, decided, labels, CLASSES, np.repeat(np.arange(60), 4))["accuracy"]
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.6 * (alone.high - alone.low)


def test_weights_count_pictures_as_if_they_were_repeated():
    random = np.random.default_rng(0)
    scores, truth = random.integers(0, 6, 40) / 5, random.integers(0, 2, 40).astype(bool)
    weights = group_weights(range(40), resamples=3)
    assert (weights.sum(1) == 40).all()
    for row, area in zip(weights, weighted_auc(weights, scores, truth), strict=True):
        repeated = np.repeat(np.arange(40), row.astype(int))
        assert area == pytest.approx(metrics.roc_auc_score(truth[repeated], scores[repeated]))


def test_what_there_is_no_picture_for_is_nan_and_one_group_has_no_interval():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    figures = class_figures(probabilities, np.array([0, 0]), np.array([0, 0]), ("benign", "malignant"), ["a", "a"])
    assert figures["accuracy"].value == 1
    assert np.isnan(figures["accuracy"].low)
    assert np.isnan(figures["recall_malignant"].value)
    assert np.isnan(figures["auc"].value)
