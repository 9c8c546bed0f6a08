"""The detector's bundle: the common contract, and boxes that lie where the lesion is on the study's own grid."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
from tests.bundles.contract import ROOT, BundleContract

from breastkit.atomic import write_text
from breastkit.datasets.duke import prepare_duke
from breastkit.images import write_nifti

CASES = 6
SHAPE = (48, 40, 10)


def tiny_study(folder: Path, name: str, seed: int) -> None:
    """Writes two phases of a body and the mask of a ball in it that takes up contrast."""
    random = np.random.default_rng(seed)
    columns, rows, slices = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    body = (rows > 8) * 60.0
    centre = (random.integers(10, 38), random.integers(16, 32), random.integers(3, 7))
    ball = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 + 4 * (slices - centre[2]) ** 2 < 30
    for number, rise in enumerate((0, 150)):
        volume = body + rise * ball + random.normal(0, 3, SHAPE)
        path = folder / "images" / name / f"{name.lower()}_{number:04d}.nii.gz"
        write_nifti(path, volume.astype(np.float32), np.diag([-2.0, -2.0, 3.0, 1.0]))
    mask = folder / "segmentations" / "expert" / f"{name.lower()}.nii.gz"
    write_nifti(mask, ball.astype(np.uint8), np.diag([-2.0, -2.0, 3.0, 1.0]))


class TestBreastMriLesionDetection(BundleContract):
    bundle = "breast_mri_lesion_detection"
    options = {"image_size": 64, "batch_size": 8}  # noqa: RUF012
    break_at = 5
    other_size = (64, 96)

    def tiny_data(self, folder):
        for number in range(CASES):
            tiny_study(folder / "source", f"DUKE_{number:03d}", number)
        names = [f"DUKE_{number:03d}" for number in range(CASES)]
        rows = ["train_split,test_split", *(f"{name}," for name in names[:-1]), f",{names[-1]}"]
        write_text(folder / "source" / "train_test_splits.csv", "\n".join(rows) + "\n")
        prepare_duke(folder / "source", folder, image_size=64, official_split=True, workers=1)

    def inference_input(self, data):
        return data / "source" / "images"

    def check_evaluation(self, folder):
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert [row["case"] for row in rows] == [f"DUKE_{CASES - 1:03d}"]
        assert [row["lesions"] for row in rows] == ["1"]
        summary = json.loads((folder / "summary.json").read_text())
        assert set(summary["sensitivity_at_false_candidates_per_case"]) == {"0.25", "0.5", "1", "2", "4", "8"}
        assert summary["patients"] == summary["lesions"] == 1
        for name in ("index.html", "froc.png", "froc.csv", "lesions.csv"):
            assert (folder / name).stat().st_size > 0
        size = float(next(csv.DictReader((folder / "lesions.csv").open()))["diameter_mm"])
        # A ball of 11 voxels of 2 mm, read off pictures of a coarser grid.
        assert 18 < size < 26

    def inference_options(self, data, trained, out):
        return {**super().inference_options(data, trained, out), "threshold": 0.001, "max_candidates": 2}

    def check_inference(self, out):
        rows = list(csv.DictReader((out / "detections.csv").open()))
        for number in range(CASES):
            name = f"DUKE_{number:03d}"
            found = json.loads((out / f"{name.lower()}_boxes.json").read_text())
            assert found["shape"] == list(SHAPE)
            assert len(found["lesions"]) <= 2
            scores = [lesion["score"] for lesion in found["lesions"]]
            assert scores == sorted(scores, reverse=True)
            assert len([row for row in rows if row["study"].lower() == name.lower()]) == len(scores)
            for lesion in found["lesions"]:
                for axis, length in zip(("col", "row", "slice"), SHAPE, strict=True):
                    assert 0 <= lesion[f"{axis}_min"] <= lesion[f"{axis}_max"] < length
                assert lesion["slice_min"] <= min(box["slice"] for box in lesion["boxes"])

    def test_nothing_is_left_in_the_home_or_working_folder(self, data, trained, tmp_path, monkeypatch):
        import os
        import subprocess
        import sys

        home, work = tmp_path / "home", tmp_path / "work"
        home.mkdir()
        work.mkdir()
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", self.config("inference")]
        options = {"bundle_root": self.root, **self.inference_options(data, trained, tmp_path / "out")}
        study = shutil.copytree(data / "source/images/DUKE_000", tmp_path / "DUKE_000")
        options["dataset_dir"] = study
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "OMP_NUM_THREADS": "1",
        }
        environment["MPLCONFIGDIR"] = str(tmp_path / "matplotlib")
        environment.pop("YOLO_CONFIG_DIR", None)
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        assert (tmp_path / "out/duke_000_boxes.json").is_file()
        assert list(work.iterdir()) == []
        assert not [path for path in home.rglob("*") if "ltralytics" in path.name or path.name == "settings.json"]


def test_the_layouts_are_spelled_out():
    networks = json.loads((ROOT / "bundles/breast_mri_lesion_detection/configs/networks.json").read_text())
    assert {"yolo11n", "yolo11s"} <= set(networks)
