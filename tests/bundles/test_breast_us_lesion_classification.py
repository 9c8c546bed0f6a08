import csv
import json
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.bundles.contract import BundleContract
from tests.bundles.tiny import tiny_pictures

from breastkit.cases import LISTS, read_cases, write_cases
from breastkit.inference.crossfit import crossfit
from breastkit.training import read_model_json


def tiny_classified(folder):
    """Pictures of all classes with true masks as the masks to look at."""
    tiny_pictures(folder / "source", others=4)
    crossfit(str(folder / "source"), out=str(folder / "masks"), truth=True)
    cases = read_cases(folder / "masks")
    write_cases(folder, {name: cases.split(name) for name in LISTS})


class TestBreastUsLesionClassification(BundleContract):
    bundle = "breast_us_lesion_classification"
    ships_weights = False
    break_at = 3
    options: ClassVar[dict[str, Any]] = {"architecture": "mask_aware", "image_size": 32, "batch_size": 8, "samples": 5}
    # Of the default architecture, and of the small one trained here.
    input_channels, trained_channels = 3, 2

    def tiny_data(self, folder):
        tiny_classified(folder)

    def label_items(self, data):
        items = json.loads((data / "dataset.json").read_text())["training"]
        paths = ("image", "label", "predicted_mask")
        return [{**{key: str(data / item[key]) for key in paths}, "class": item["class"]} for item in items]

    def test_the_rule_is_stored_with_the_weights(self, trained):
        facts = read_model_json(trained)
        assert facts["classes"] == ["normal", "benign", "malignant"]
        assert facts["view"] == {"channels": ["gray", "mask"], "margin": None}
        assert facts["masks"] == "predicted"
        assert facts["started_from"] == "random weights"
        assert facts["operating_point"]["threshold"] == facts["threshold"]
        assert facts["operating_point"]["recall"] >= 0.95
        assert 0 < facts["abstain_above"] <= 1
        assert facts["temperature"] > 0
        assert facts["samples"] == 5

    def test_a_fold_knows_what_it_has_not_seen(self, data, tmp_path):
        facts = read_model_json(self.train(data, tmp_path / "run", epochs=1, fold=1))
        expected = [f"training_{number}" for number in range(1, 17, 2)]
        assert sorted(facts["unseen"]) == sorted(expected)

    def test_the_default_variant_trains_on_its_three_channels(self, data, tmp_path):
        out = self.train(data, tmp_path / "run", epochs=1, architecture="fusion", batch_size=4)
        facts = read_model_json(out)
        assert facts["classes"] == ["benign", "malignant"]
        assert facts["view"]["channels"] == ["gray", "lesion", "mask"]
        rows = list(csv.DictReader((out / "metrics.csv").open()))
        assert np.isfinite(float(rows[0]["val_auc"]))

    def test_pictures_without_masks_are_named(self, data, tmp_path, capsys):
        with pytest.raises(RuntimeError) as raised:
            self.train(data / "source", tmp_path / "run", epochs=1)
        from breastkit.errors import sentence_of

        assert "has no predicted mask; make the masks with 'breastkit data crossfit'" in sentence_of(raised.value)
