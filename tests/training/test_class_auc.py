import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from breastkit.training import ClassAUC


@pytest.mark.parametrize("classes", [2, 3])
def test_the_area_does_not_depend_on_batches(classes):
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, classes, 30), torch.from_numpy(random.normal(size=(30, classes)))
    probabilities = torch.softmax(logits, 1).numpy()
    expected = roc_auc_score(labels, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr")
    for size in (7, 30):
        metric = ClassAUC(30, classes)
        for cases in torch.randperm(30, generator=torch.Generator().manual_seed(size)).split(size):
            metric.update((logits[cases], torch.from_numpy(labels)[cases], cases))
        assert metric.compute() == pytest.approx(expected)


def test_it_forgets_and_one_class_has_no_area():
    metric = ClassAUC(2, 2)
    metric.update((torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 0]), [0, 1]))
    assert metric.compute() == 1
    metric.reset()
    assert np.isnan(metric.compute())
