import numpy as np
import pytest
import torch

from breastkit.training import CaseDice


def batch_of(probabilities, labels, cases):
    probabilities = torch.as_tensor(np.array(probabilities), dtype=torch.float32)
    labels = torch.as_tensor(np.array(labels), dtype=torch.float32)
    return torch.logit(probabilities)[:, None, None], labels[:, None, None], torch.tensor(cases)


def test_adds_up_over_the_slices_of_a_case():
    metric = CaseDice(2)
    metric.update(batch_of([[0.9, 0.9, 0.1]], [[1, 0, 0]], [0]))
    metric.update(batch_of([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]], [[1, 1, 0], [0, 0, 1]], [0, 1]))
    # Case 0: 2 of 3 predicted and 3 true pixels overlap; case 1: one and the same.
    assert metric.per_case().flatten().tolist() == pytest.approx([2 * 2 / 6, 1.0])
    assert metric.compute() == pytest.approx((2 / 3 + 1) / 2)


def test_equals_the_plain_definition_at_every_threshold():
    random = np.random.default_rng(0)
    thresholds = [0.1, 0.25, 0.5, 0.9]
    probabilities = random.random((12, 40)).astype(np.float32)
    labels = random.random((12, 40)) < 0.3
    cases = np.arange(12) % 3
    metric = CaseDice(3, thresholds=thresholds)
    for part in np.array_split(np.arange(12), 5):
        metric.update(batch_of(probabilities[part], labels[part], cases[part].tolist()))
    for case in range(3):
        for column, threshold in enumerate(thresholds):
            predicted, true = probabilities[cases == case] >= threshold, labels[cases == case]
            expected = 2 * (predicted & true).sum() / (predicted.sum() + true.sum())
            assert metric.per_case()[case, column] == pytest.approx(expected, abs=1e-12)


def test_batches_do_not_matter():
    random = np.random.default_rng(1)
    probabilities, labels = random.random((8, 30)), random.random((8, 30)) < 0.5
    cases = [0, 1, 0, 1, 1, 0, 0, 1]
    whole, parts = CaseDice(2), CaseDice(2)
    whole.update(batch_of(probabilities, labels, cases))
    for part in ([7, 1], [0, 2, 3], [6, 5, 4]):
        parts.update(batch_of(probabilities[part], labels[part], [cases[i] for i in part]))
    assert torch.equal(whole.per_case(), parts.per_case())


def test_nothing_true_and_nothing_predicted_is_right():
    metric = CaseDice(1)
    metric.update(batch_of([[0.1, 0.2]], [[0, 0]], [0]))
    assert metric.compute() == 1.0


def test_reset_forgets():
    metric = CaseDice(1)
    metric.update(batch_of([[0.9]], [[0]], [0]))
    metric.reset()
    metric.update(batch_of([[0.9]], [[1]], [0]))
    assert metric.compute() == 1.0
