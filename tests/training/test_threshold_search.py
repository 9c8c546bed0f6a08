import csv
import json

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import nn
from torch.utils.data import DataLoader

from breastkit.images import read_gray
from breastkit.training import ThresholdSearch, save_weights
from breastkit.training.threshold_search import best_threshold


class Scaled(nn.Module):
    """Its logits are the image times a weight."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, image):
        return image * self.weight


class Slices(list):
    """Those of two cases, whose pixels are true exactly where the probability is at least `cut`."""

    cases = 2

    def __init__(self, cut):
        probability = torch.linspace(0.001, 0.999, 64).reshape(1, 8, 8)
        item = {"image": torch.logit(probability), "label": (probability >= cut).float()}
        super().__init__({**item, "case": case} for case in (0, 0, 1))


@pytest.mark.parametrize("cut", [0.3, 0.72])
def test_finds_the_threshold_the_truth_was_made_with(tmp_path, cut):
    save_weights(tmp_path, Scaled(), threshold=0.5, figures={"val_dice": 0.1})
    # The network starts with other weights than the best ones.
    evaluator = SupervisedEvaluator("cpu", DataLoader(Slices(cut), 2), Scaled(-3.0))
    best = ThresholdSearch(tmp_path, evaluator, step=0.01).run()
    assert best == pytest.approx(cut, abs=0.011)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["threshold"] == best
    assert facts["figures"] == {"val_dice": 0.1, "val_dice_at_threshold": 1.0}
    rows = list(csv.DictReader((tmp_path / "thresholds.csv").open()))
    assert float(rows[0]["threshold"]) == 0.05
    assert float(rows[-1]["threshold"]) == 0.95
    assert max(rows, key=lambda row: float(row["dice"]))["dice"] == "1.0"
    assert np.ptp(read_gray(tmp_path / "thresholds.png")) > 100


def test_the_middle_of_equals_is_taken():
    assert best_threshold([0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.9, 0.9, 0.9, 0.1]) == 0.3
    assert best_threshold([0.1, 0.2, 0.3, 0.4], [0.5, 0.9, 0.9, 0.1]) == 0.2
