import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer
from torch import nn
from torch.utils.data import DataLoader

from breastkit.errors import BreastkitError
from breastkit.inference import ClassSampling
from breastkit.metrics import class_probabilities, suspicious
from breastkit.networks import Classifier
from breastkit.training import DecisionSearch, choose_rule, read_model_json, rule_over, save_weights, stored_rule

CLASSES = ("benign", "malignant")


class Mean(nn.Module):
    """Features that are the picture itself, so that a picture says what the answer is."""

    out_channels = 1

    def forward(self, image):
        return image


def network():
    made = Classifier(Mean(), classes=2, dropout=0.5).eval()
    made.head.weight.data = torch.tensor([[-1.0], [1.0]])
    made.head.bias.data.zero_()
    return made


class Pictures(list):
    """As many cases."""

    def __init__(self, scores, labels):
        super().__init__(
            {"image": torch.full((1, 4, 4), float(score)), "label": label, "case": place}
            for place, (score, label) in enumerate(zip(scores, labels, strict=True))
        )
        self.cases = len(self)


def told_apart(count=200, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    return random.normal(np.where(labels, 1.0, -1.0), 1.0), labels


def search(folder, scores, labels, **options):
    made = network()
    save_weights(folder, made, architecture="x", classes=list(CLASSES), threshold=0.5, figures={"val_auc": 0.1})
    inferer = ClassSampling(SimpleInferer(), samples=20)
    evaluator = SupervisedEvaluator("cpu", DataLoader(Pictures(scores, labels), 16), made)
    DecisionSearch(folder, evaluator, inferer=inferer, classes=CLASSES, **options).run()
    return read_model_json(folder)


def test_the_rule_finds_the_share_of_malignant_ones_asked_for(tmp_path):
    scores, labels = told_apart()
    facts = search(tmp_path, scores, labels)
    rule = stored_rule(facts)
    with np.load(tmp_path / "opinions.npz") as kept:
        opinions = kept["opinions"]
        assert np.array_equal(kept["labels"], labels)
    probabilities, uncertainty = class_probabilities(opinions, rule["temperature"])
    called = suspicious(probabilities, CLASSES, rule["threshold"])
    recall = called[labels == 1].mean()
    assert 0.95 <= recall < 0.97
    assert facts["operating_point"]["recall"] == pytest.approx(recall)
    assert facts["operating_point"]["specificity"] == pytest.approx((~called[labels == 0]).mean())
    assert np.mean(uncertainty > rule["abstain_above"]) == pytest.approx(0.1, abs=0.01)
    # Logits are twice the score, and so is the log of the odds of such scores.
    assert rule["temperature"] == pytest.approx(1.0, abs=0.3)
    assert facts["figures"]["val_auc"] == 0.1
    assert facts["figures"]["val_accuracy"] == pytest.approx((probabilities.argmax(1) == labels).mean())
    assert facts["figures"]["val_accuracy_answered"] >= facts["figures"]["val_accuracy"]


def test_other_shares_may_be_asked_for(tmp_path):
    facts = search(tmp_path, *told_apart(), recall=0.8, coverage=0.5)
    assert 0.8 <= facts["operating_point"]["recall"] < 0.83


def test_one_class_alone_still_gives_a_rule(tmp_path):
    rule = stored_rule(search(tmp_path, [-1.0, -2.0], [0, 0]))
    assert rule["threshold"] == 0.5


def test_pictures_all_alike_are_not_all_left_unanswered():
    for shift in np.linspace(0, 1, 50):
        opinions = np.random.default_rng(0).normal(0, 1e-7, (40, 3, 2)) + np.array([shift, 0.3])
        labels = np.arange(40) % 3 == 0
        rule = choose_rule(opinions, labels.astype(int), CLASSES)
        assert np.mean(class_probabilities(opinions, rule["temperature"])[1] <= rule["abstain_above"]) >= 0.9


def test_a_rule_over_folds_is_chosen_on_all_of_them(tmp_path):
    parts = [told_apart(seed=seed) for seed in (1, 2)]
    for number, part in enumerate(parts):
        search(tmp_path / str(number), *part)
    runs = [tmp_path / "0", tmp_path / "1"]
    together = rule_over(runs)
    pooled = [np.load(run / "opinions.npz") for run in runs]
    labels = np.concatenate([one["labels"] for one in pooled])
    opinions = np.concatenate([one["opinions"] for one in pooled]).astype(np.float64)
    assert together == choose_rule(opinions, labels, CLASSES)
    assert together["operating_point"]["recall"] >= 0.95
    with pytest.raises(BreastkitError, match=r"opinions\.npz does not exist; finish the run"):
        rule_over([*runs, tmp_path / "2"])


def test_a_run_without_a_rule_is_named():
    with pytest.raises(BreastkitError, match="run me lacks temperature, abstain_above"):
        stored_rule({"run": "me", "threshold": 0.5})
