import csv

import nibabel
import numpy as np
import pytest
from tests.bundles.contract import BundleContract
from tests.bundles.tiny import tiny_tissue


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


@pytest.mark.slow
class TestReferenceArchitecture(TestBreastMriTissueSegmentation):
    """The same of the larger network, which is one override away."""

    options = TestBreastMriTissueSegmentation.options | {"architecture": "reference"}
