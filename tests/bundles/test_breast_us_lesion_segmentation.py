import csv
from pathlib import Path

import cv2
import numpy as np
from tests.bundles.contract import BundleContract
from tests.bundles.tiny import tiny_pictures

from breastkit.training import read_model_json


class TestBreastUsLesionSegmentation(BundleContract):
    bundle = "breast_us_lesion_segmentation"
    break_at = 3

    def tiny_data(self, folder):
        tiny_pictures(folder)

    def inference_input(self, data):
        return data / "image"

    def check_inference(self, out):
        rows = list(csv.DictReader((out / "predictions.csv").open()))
        assert len(rows) == 17 + 4 + 4
        for row in rows:
            mask = cv2.imread(str(out / row["mask"]), cv2.IMREAD_UNCHANGED)
            assert mask.shape == (28, 36)
            assert set(np.unique(mask)) <= {0, 255}
            assert np.count_nonzero(mask) == int(row["area_px"])
            assert (out / f"{Path(row['file']).stem}_overlay.png").is_file()

    def check_evaluation(self, folder):
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert [row["lesion"] for row in rows] == ["True"] * 3 + ["False"]
        assert (folder / "index.html").is_file()

    def test_clean_up_is_stored_with_the_weights(self, trained):
        facts = read_model_json(trained)
        assert set(facts["clean_up"]) == {"largest_only", "minimum_share"}
        # Chosen on all validation images, those without lesion too, although training left them out.
        rows = list(csv.DictReader((trained / "clean_up.csv").open()))
        assert facts["figures"]["val_dice_all_images_cleaned"] == max(float(row["dice"]) for row in rows)
