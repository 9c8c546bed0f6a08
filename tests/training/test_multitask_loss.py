import math

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from breastkit.training import CaseDice, HeadAUC, LesionLabel, MultiTaskLoss, head_metrics


def batch(classes, seed=0):
    """Returns logits and labels: a square of each class, nothing for 0."""
    random = torch.Generator().manual_seed(seed)
    planes = torch.randn(len(classes), 2, 1, 1, generator=random).expand(-1, -1, 8, 8)
    logits = torch.cat([torch.randn(len(classes), 1, 8, 8, generator=random), planes], 1)
    label = torch.zeros(len(classes), 1, 8, 8)
    label[:, :, 2:5, 3:6] = torch.tensor(classes, dtype=torch.float32)[:, None, None, None]
    return logits, label


def test_at_first_it_is_the_sum_of_the_losses_of_what_is_asked():
    logits, label = batch([0, LesionLabel.UNKNOWN, LesionLabel.BENIGN, LesionLabel.MALIGNANT])
    outline = DiceCELoss(sigmoid=True)
    expected = outline(logits[:, :1], (label > 0).float())
    expected += cross_entropy(logits[:, 1, 0, 0], torch.tensor([0.0, 1.0, 1.0, 1.0]))
    expected += cross_entropy(logits[2:, 2, 0, 0], torch.tensor([0.0, 1.0]))
    assert MultiTaskLoss(outline)(logits, label).item() == pytest.approx(expected.item(), rel=1e-5)


def test_nothing_is_learnt_of_malignancy_where_no_class_is_known():
    logits, label = batch([0, LesionLabel.UNKNOWN])
    logits.requires_grad_()
    loss = MultiTaskLoss(DiceCELoss(sigmoid=True))
    loss(logits, label).backward()
    assert logits.grad[:, 2].abs().sum() == 0 < logits.grad[:, 1].abs().sum()
    assert loss.slow_log_variance.grad[2] == 0 != loss.slow_log_variance.grad[1]


def test_weights_settle_where_a_task_counts_by_half_its_loss():
    """The minimum over s of exp(-s) L + s/2 lies at s = log(2 L)."""
    logits, label = batch([0, LesionLabel.BENIGN, LesionLabel.MALIGNANT, LesionLabel.MALIGNANT])
    loss = MultiTaskLoss(DiceCELoss(sigmoid=True))
    optimizer = torch.optim.Adam(loss.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss(logits, label).backward()
        optimizer.step()
    lesion = cross_entropy(logits[:, 1, 0, 0], torch.tensor([0.0, 1.0, 1.0, 1.0])).item()
    assert loss.log_variance[1].item() == pytest.approx(math.log(2 * lesion), abs=0.02)


def test_areas_are_those_of_scikit_learn_whatever_the_batches():
    classes = np.random.default_rng(0).permutation([0] * 5 + [1] * 4 + [2] * 6 + [3] * 7)
    logits, label = batch(list(map(int, classes)))
    metrics = {name: HeadAUC(len(classes), name) for name in ("lesion", "malignant")}
    for part in torch.randperm(len(classes)).split(5):
        for metric in metrics.values():
            metric.update((logits[part], label[part], part))
    known = classes > 1
    assert metrics["lesion"].compute() == pytest.approx(roc_auc_score(classes > 0, logits[:, 1, 0, 0]))
    assert metrics["malignant"].compute() == pytest.approx(roc_auc_score(classes[known] == 3, logits[known, 2, 0, 0]))


def test_the_score_is_the_mean_of_dice_and_area():
    logits, label = batch([2, 3, 3, 2, 0])
    dice = CaseDice(5)
    figures = head_metrics(5, dice=dice)
    for metric in (dice, *(metric for name, metric in figures.items() if name != "val_score")):
        metric.update((logits, label, torch.arange(5)))
    expected = (dice.compute() + figures["val_auc_malignant"].compute()) / 2
    assert figures["val_score"].compute() == pytest.approx(expected)
