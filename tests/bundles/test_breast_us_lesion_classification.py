import csv
import json
import shutil
from typing import Any, ClassVar

import numpy as np
import pytest
from monai.bundle import run
from tests.bundles.contract import BundleContract
from tests.bundles.tiny import tiny_pictures

from breastkit.cases import LISTS, read_cases, write_cases
from breastkit.errors import sentence_of
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
    break_at = 3
    options: ClassVar[dict[str, Any]] = {"architecture": "mask_aware", "image_size": 32, "batch_size": 8, "samples": 5}

    def tiny_data(self, folder):
        tiny_classified(folder)

    def inference_input(self, data):
        return data / "source/image"

    def inference_options(self, data, trained, out):
        return {**super().inference_options(data, trained, out), "mask_dir": str(data / "masks/masks")}

    def check_inference(self, out):
        rows = list(csv.DictReader((out / "predictions.csv").open()))
        assert len(rows) == 17 + 5 + 5
        for row in rows:
            probabilities = [float(row[f"p_{name}"]) for name in ("normal", "benign", "malignant")]
            assert abs(sum(probabilities) - 1) < 1e-3
            assert row["class"] in ("normal", "benign", "malignant")
            assert row["abstain"] in ("0", "1")
            assert row["decided_by"] == "mask_aware"
            assert (out / row["mask"]).is_file()

    def check_evaluation(self, folder):
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert sorted({row["class"] for row in rows}) == ["benign", "malignant", "normal"]
        assert len(rows) == 5
        for row in rows:
            assert int(row["correct"]) == (row["predicted"] == row["class"])
            assert row["mask_dice"] == "1.0"
        summary = json.loads((folder / "summary.json").read_text())
        accuracy = np.mean([int(row["correct"]) for row in rows])
        assert summary["figures"]["accuracy"][0] == accuracy
        assert summary["rule"]["chosen"] == "with the weights"
        assert np.trace([list(row.values()) for row in summary["confusion"].values()]) == 5 * accuracy
        page = (folder / "index.html").read_text()
        assert page.count("<figcaption>") == 5 + 5
        assert "http" not in page.replace("http://www.w3.org", "")

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

    def test_runs_are_averaged_and_a_rule_chosen_for_the_mean(self, data, trained, tmp_path):
        """Of a run and itself the mean is the run, and so is the rule."""
        options = {**self.options, "dataset_dir": str(data), "output_dir": str(tmp_path / "mean")}
        options["averaged_runs"] = [str(trained), str(trained)]
        run("average_of_runs", config_file=self.config("train"), bundle_root=str(self.root), **options)
        mean, one = read_model_json(tmp_path / "mean"), read_model_json(trained)
        assert mean["averaged"] == [trained.name, trained.name]
        assert mean["sha256"] == one["sha256"]
        assert mean["temperature"] == one["temperature"]
        assert (tmp_path / "mean/opinions.npz").is_file()
        assert json.loads((tmp_path / "mean/run.json").read_text())["state"] == "finished"

    def test_a_fold_knows_what_it_has_not_seen(self, data, tmp_path):
        out = self.train(data, tmp_path / "run", epochs=1, fold=1)
        expected = [f"training_{number}" for number in range(1, 17, 2)]
        assert sorted(read_model_json(out)["unseen"]) == sorted(expected)
        # What was chosen on these pictures is not what they are judged by.
        options = {**self.evaluate_options(data, out), "fold": 1, "split": "validation"}
        run(config_file=[self.config("train"), self.config("evaluate")], bundle_root=str(self.root), **options)
        summary = json.loads((out / "evaluation/summary.json").read_text())
        assert "on the other cases of this list" in summary["rule"]["chosen"]
        assert summary["images"] == 8
        assert summary["started_from"] == "random weights"

    def test_the_default_variant_trains_and_leaves_pictures_without_lesion_to_another(self, data, trained, tmp_path):
        out = self.train(data, tmp_path / "run", epochs=1, architecture="fusion", batch_size=4)
        facts = read_model_json(out)
        assert facts["classes"] == ["benign", "malignant"]
        assert facts["view"]["channels"] == ["gray", "lesion", "mask"]
        rows = list(csv.DictReader((out / "metrics.csv").open()))
        assert np.isfinite(float(rows[0]["val_auc"]))

        for name in ("test_0", "test_4"):
            (tmp_path / "in").mkdir(exist_ok=True)
            shutil.copy(data / f"source/image/{name}.png", tmp_path / "in")
        options = {
            "dataset_dir": str(tmp_path / "in"),
            "mask_dir": str(data / "masks/masks"),
            "ckpt_path": str(out),
            "architecture": "fusion",
        }
        decided = []
        for number, second in enumerate((str(trained / "model.pt"), "$None")):
            given = {**options, "output_dir": str(tmp_path / f"out{number}"), "without_lesion": second}
            run(config_file=self.config("inference"), bundle_root=str(self.root), **given)
            rows = list(csv.DictReader((tmp_path / f"out{number}/predictions.csv").open()))
            decided.append([(row["decided_by"], row["p_normal"] != "") for row in rows])
        anyway = "fusion, although no lesion was found"
        assert decided == [[("fusion", False), ("mask_aware", True)], [("fusion", False), (anyway, False)]]

    def test_pictures_without_masks_are_named(self, data, tmp_path):
        with pytest.raises(RuntimeError) as raised:
            self.train(data / "source", tmp_path / "run", epochs=1)
        assert "has no predicted mask; make the masks with 'breastkit data crossfit'" in sentence_of(raised.value)
