"""What every bundle that outlines lesions in pictures promises beside `BundleContract`."""

from __future__ import annotations

import csv

import cv2
import numpy as np
from tests.bundles.contract import BundleContract
from tests.bundles.tiny import tiny_pictures


class PictureBundleContract(BundleContract):
    """The contract on `tiny_pictures`."""

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

    def check_evaluation(self, folder):
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert [row["lesion"] for row in rows] == ["True"] * 3 + ["False"]
        assert (folder / "index.html").is_file()

    def test_dice_and_focal_loss_is_one_override_away(self, data, trained, tmp_path):
        loss = {"_target_": "monai.losses.DiceFocalLoss", "sigmoid": True}
        other = self.train(data, tmp_path / "run", epochs=1, loss=loss)
        losses = [next(csv.DictReader((run / "metrics.csv").open()))["train_loss"] for run in (other, trained)]
        assert losses[0] != losses[1]
