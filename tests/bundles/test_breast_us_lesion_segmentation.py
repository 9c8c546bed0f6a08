import csv
import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, run
from tests.bundles.picture_contract import PictureBundleContract

from breastkit.training import load_weights, read_model_json


class TestBreastUsLesionSegmentation(PictureBundleContract):
    bundle = "breast_us_lesion_segmentation"
    break_at = 3

    def check_inference(self, out):
        super().check_inference(out)
        for row in csv.DictReader((out / "predictions.csv").open()):
            assert (out / f"{Path(row['file']).stem}_overlay.png").is_file()

    def test_clean_up_is_stored_with_the_weights(self, trained):
        facts = read_model_json(trained)
        assert set(facts["clean_up"]) == {"largest_only", "minimum_share"}
        # Chosen on all validation images, those without lesion too, although training left them out.
        rows = list(csv.DictReader((trained / "clean_up.csv").open()))
        assert facts["figures"]["val_dice_all_images_cleaned"] == max(float(row["dice"]) for row in rows)

    def test_a_fold_knows_what_it_has_not_seen_and_is_not_judged_by_what_was_tuned_on_it(self, data, tmp_path):
        out = self.train(data, tmp_path / "run", epochs=1, fold=1)
        facts = read_model_json(out)
        assert facts["fold"] == 1
        assert sorted(facts["unseen"]) == sorted(f"training_{number}" for number in range(1, 17, 2))
        parser = ConfigParser()
        parser.read_config([self.config("train"), self.config("evaluate")])
        parser.update({"output_dir": str(out), "dataset_dir": str(data), "fold": 1, "split": "validation"})
        assert parser.get_parsed_content("threshold") == 0.5
        assert parser.get_parsed_content("clean_up") == {"largest_only": False, "minimum_share": 0.0}
        assert len(parser.get_parsed_content("dataset").data) == 8

    def test_searches_can_be_made_again_on_a_finished_run(self, data, trained):
        before, weights = read_model_json(trained), load_weights(trained)
        (trained / "clean_up.csv").unlink()
        again = {"initialize": [], "run": ["$@clean_up_search.run()"], "finalize": []}
        options = {"dataset_dir": str(data), "output_dir": str(trained), **self.options, **again}
        run(config_file=self.config("train"), bundle_root=str(self.root), **options)
        assert (trained / "clean_up.csv").is_file()
        assert read_model_json(trained) == before
        assert load_weights(trained).keys() == weights.keys()

    def test_a_site_is_left_out_by_one_option(self, data, tmp_path):
        lists = json.loads((data / "dataset.json").read_text())
        for name in ("training", "validation", "test"):
            for place, item in enumerate(lists[name]):
                item["site"] = "here" if place % 2 else "there"
                item["image"], item["label"] = (str(data / item[key]) for key in ("image", "label"))
        (tmp_path / "dataset.json").write_text(json.dumps(lists))
        parser = ConfigParser()
        parser.read_config([self.config("train"), self.config("wide_augmentation")])
        parser.update({"dataset_dir": str(tmp_path), "leave_out": "site=there", **self.options})
        learnt, chosen_by = (parser.get_parsed_content(f"{part}#dataset").data for part in ("train", "validate"))
        assert learnt and {item["site"] for item in [*learnt, *chosen_by]} == {"here"}
        first = parser.get_parsed_content("train#dataset")[0]
        assert first["image"].shape == first["label"].shape and set(first["label"].unique().tolist()) <= {0.0, 1.0}
        parser = ConfigParser()
        parser.read_config([self.config("train"), self.config("evaluate")])
        parser.update({"dataset_dir": str(tmp_path), "leave_out": "site=there", "weights": {"image_size": 32}})
        assert {item["site"] for item in parser.get_parsed_content("dataset").data} == {"there"}

    def test_one_network_for_outline_presence_and_class(self, data, tmp_path):
        """It goes on to the weights of an unbroken run, those of its tasks too, and is evaluated by all of them."""
        options = {"architecture": "multitask"}
        breaking = {"+train#handlers": [{"_target_": "tests.bundles.contract.BreakAt", "iteration": 4}]}
        unbroken = self.train(data, tmp_path / "unbroken", **options)
        with pytest.raises(RuntimeError):
            self.train(data, tmp_path / "run", extra=breaking, **options)
        self.train(data, tmp_path / "run", **options)
        first, again = (torch.load(run / "checkpoint.pt", weights_only=True) for run in (unbroken, tmp_path / "run"))
        for part in ("network", "loss"):
            assert first[part].keys() == again[part].keys()
            assert all(torch.equal(tensor, again[part][name]) for name, tensor in first[part].items())
        assert all(first["loss"]["loss.slow_log_variance"] != 0)
        rows = list(csv.DictReader((unbroken / "metrics.csv").open()))
        assert float(rows[0]["val_score"]) == pytest.approx(
            (float(rows[0]["val_dice"]) + float(rows[0]["val_auc_malignant"])) / 2, abs=1e-3
        )
        configs = [self.config("train"), self.config("evaluate")]
        run(config_file=configs, bundle_root=str(self.root), **self.evaluate_options(data, unbroken), **options)
        evaluated = list(csv.DictReader((unbroken / "evaluation" / "metrics.csv").open()))
        assert all(0 < float(row[name]) < 1 for row in evaluated for name in ("p_lesion", "p_malignant"))
        summary = json.loads((unbroken / "evaluation" / "summary.json").read_text())
        assert all(0 <= summary[name][0] <= 1 for name in ("auc_lesion", "auc_malignant"))
        self.infer(data, unbroken, tmp_path / "out")
        self.check_inference(tmp_path / "out")
        answers = csv.DictReader((tmp_path / "out" / "predictions.csv").open())
        assert all(0 < float(row["p_malignant"]) < 1 for row in answers)

    def test_a_network_that_follows_clicks_begins_with_automatic_weights(self, data, trained, tmp_path):
        """`train_clicks.json` laid over `train.json`; what comes out is run like any other weights.

        That a broken-off run goes on alike is asked of clicks in tests/training/test_simulated_clicks.py.
        """
        overlay = json.loads(Path(self.config("train_clicks")).read_text())
        out = self.train(data, tmp_path / "run", epochs=1, extra=overlay, pretrained=str(trained))
        facts = read_model_json(out)
        assert (facts["architecture"], facts["prompts"]) == ("clicks", ["add", "remove", "previous"])
        # What the first convolution learnt of the prompts.
        (stem,) = (tensor for tensor in load_weights(out).values() if tensor.ndim == 4 and tensor.shape[1] == 6)
        assert stem[:, 3:].any()
        self.infer(data, out, tmp_path / "out")
        self.check_inference(tmp_path / "out")
