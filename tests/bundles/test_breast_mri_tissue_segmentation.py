import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.bundles.contract import BundleContract
from tests.bundles.tiny import tiny_tissue

from breastkit.cases import write_cases
from breastkit.training import read_model_json


class TestBreastMriTissueSegmentation(BundleContract):
    bundle = "breast_mri_tissue_segmentation"

    def tiny_data(self, folder):
        tiny_tissue(folder)

    def inference_input(self, data):
        return data / "image"

    def check_inference(self, out):
        rows = list(csv.DictReader((out / "features.csv").open()))
        assert len(rows) == 6
        for number in range(6):
            mask = nibabel.load(out / f"case_{number}_breast.nii.gz")
            assert mask.shape == (24, 20, 8)
            assert set(np.unique(mask.get_fdata())) <= {0.0, 1.0}
            assert (out / f"case_{number}_candidate.nii.gz").is_file()

    def test_a_network_of_glands_is_trained_by_an_overlay(self, tmp_path):
        """`glands.json` laid over `train.json`, on scans with outlined glands; the tiny breasts stand for these."""
        cases = tiny_tissue(tmp_path / "data", cases=4)
        for _, item in cases.items():
            item["glands"] = item["label"]
        lists = {name: getattr(cases, name) for name in ("training", "validation", "test")}
        write_cases(tmp_path / "data", lists, facts={"name": "tiny"})
        overlay = json.loads(Path(self.config("glands")).read_text())
        options = {"architecture": "gland", "image_size": 32}
        out = self.train(tmp_path / "data", tmp_path / "run", epochs=1, extra=overlay, **options)
        assert read_model_json(out)["architecture"] == "gland"


@pytest.mark.slow
class TestReferenceArchitecture(TestBreastMriTissueSegmentation):
    """The same of the larger network, which is one override away."""

    options = TestBreastMriTissueSegmentation.options | {"architecture": "reference"}
