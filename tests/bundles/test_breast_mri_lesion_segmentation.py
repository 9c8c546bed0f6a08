import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, run
from tests.bundles.contract import BundleContract
from tests.bundles.tiny import tiny_studies
from torch.utils.flop_counter import FlopCounterMode

from breastkit.datasets.duke import prepare_duke
from breastkit.images import read_volume
from breastkit.networks import from_file, names_in
from breastkit.training import read_model_json

NETWORKS = Path(__file__).parents[2] / "bundles/breast_mri_lesion_segmentation/configs/networks.json"
CARD = Path(__file__).parents[2] / "bundles/breast_mri_lesion_segmentation/docs/README.md"
FOUR = ("unetplusplus", "unet3plus", "attention_unet", "transunet")


class TestBreastMriLesionSegmentation(BundleContract):
    bundle = "breast_mri_lesion_segmentation"
    options = {"image_size": 32, "batch_size": 8, "architecture": "attention_unet_small"}  # noqa: RUF012
    break_at = 7

    def tiny_data(self, folder):
        tiny_studies(folder / "source")
        prepare_duke(folder / "source", folder, image_size=64, negatives=1.0, workers=1)

    def inference_input(self, data):
        return data / "source/images"

    def inference_options(self, data, trained, out):
        boxes = out.with_name(f"{out.name}-boxes")
        boxes.mkdir(exist_ok=True)
        for mask in sorted((data / "source/segmentations/expert").iterdir()):
            array = read_volume(mask, mask=True).array
            edges = [(int(inside.min()), int(inside.max())) for inside in np.nonzero(array)]
            bounds = {f"{axis}_{end}": edges[n][e] for n, axis in enumerate(("col", "row", "slice"))
                      for e, end in enumerate(("min", "max"))}  # fmt: skip
            name = mask.name.removesuffix(".nii.gz")
            found = {"file": name, "shape": list(array.shape), "lesions": [{"score": 0.9, **bounds, "boxes": []}]}
            (boxes / f"{name}_boxes.json").write_text(json.dumps(found))
        return {**super().inference_options(data, trained, out), "boxes": str(boxes)}

    def check_inference(self, out):
        rows = list(csv.DictReader((out / "predictions.csv").open()))
        assert len(rows) == 10
        for row in rows:
            assert int(row["regions"]) > 0
            assert int(row["voxels"]) == np.count_nonzero(read_volume(out / row["mask"], mask=True).array)
            assert (out / f"{row['study']}_overlay.png").is_file()

    def check_evaluation(self, folder):
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert len(rows) == 2
        assert {"dice", "lesion_dice", "slice_dice", "false_positive_voxels", "empty_slices_false_share"} <= set(
            rows[0]
        )
        assert json.loads((folder / "summary.json").read_text())["regions"] == "true boxes"
        assert len(list((folder / "pictures").iterdir())) == 2

    def test_whole_slices_and_all_outputs_of_unet3plus(self, data, trained, tmp_path):
        """Without detection, with deep supervision; both kinds of run in one comparison, on the same slices."""
        from breastkit.evaluation import compare_runs

        whole = self.train(data, tmp_path / "whole", epochs=1, architecture="unet3plus_small", detection="false")
        assert read_model_json(whole)["detection"] is False
        for out, architecture in ((whole, "unet3plus_small"), (trained, "attention_unet_small")):
            options = self.evaluate_options(data, out) | {"architecture": architecture}
            run(config_file=[self.config("train"), self.config("evaluate")], bundle_root=str(self.root), **options)
        compare_runs([str(whole), str(trained)], out=str(tmp_path / "compared"))
        table = (tmp_path / "compared/comparison.md").read_text()
        assert "unet3plus_small, whole slices" in table
        assert "attention_unet_small, true boxes" in table
        assert list((tmp_path / "compared").glob("*.png"))

    def test_boxes_of_another_study_are_refused(self, data, trained, tmp_path):
        options = self.inference_options(data, trained, tmp_path / "out")
        for file in Path(options["boxes"]).iterdir():
            file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": [1, 2, 3]}))
        with pytest.raises((SystemExit, RuntimeError)) as raised:
            run(config_file=self.config("inference"), bundle_root=str(self.root), **options)
        assert "boxes of a scan of shape" in str(raised.value) + str(raised.value.__cause__)


@pytest.mark.parametrize(("detection", "pixels"), [("true", 900), ("false", 20)])
def test_marking_nothing_is_no_way_out(detection, pixels):
    """Lesions fill boxes and are specks in whole slices, where three of four networks once stayed at nothing."""
    config = ConfigParser()
    config.read_config(str(NETWORKS.with_name("train.json")))
    config["detection"] = detection
    loss = config.get_parsed_content("loss")
    truth = torch.zeros(3, 1, 128, 128)
    truth[:2].view(2, -1)[:, :pixels] = 1
    surely = torch.full_like(truth, -12.0)
    assert loss(surely, truth) - loss(torch.where(truth > 0, 12.0, surely), truth) > 0.9


def test_every_architecture_is_compact_and_has_a_reference():
    assert {f"{name}_reference" for name in FOUR} < set(names_in(NETWORKS))
    for name in (f"{name}_small" for name in FOUR):
        with torch.device("meta"), FlopCounterMode(display=False) as counted, torch.no_grad():
            network = from_file(NETWORKS, name).eval()
            network(torch.zeros(1, 3, 128, 128))
        flops, size = counted.get_total_flops(), sum(parameter.numel() for parameter in network.parameters())
        assert flops < 2e9, name
        assert f"| `{name}` | {size / 1e6:.1f} M | {flops / 1e9:.1f} |" in CARD.read_text()


def test_references_have_their_published_sizes():
    sizes = {}
    for name in ("unet3plus_reference", "transunet_reference"):
        with torch.device("meta"):
            sizes[name] = sum(parameter.numel() for parameter in from_file(NETWORKS, name).parameters())
    assert sizes == {"unet3plus_reference": pytest.approx(27.0e6, rel=2e-3),
                     "transunet_reference": pytest.approx(105.3e6, rel=2e-3)}  # fmt: skip
