"""Two processes that train one network, started by torchrun as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from tests.bundles.tiny import tiny_studies, tiny_tissue
from tests.training.processes import frozen_network

from breastkit.datasets.duke import prepare_duke
from breastkit.training import read_model_json

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles" / "breast_mri_tissue_segmentation"
SETTINGS = ("--batch_size", "8", "--precision", "f32", "--seed", "3")
SMALL = ("--image_size", "32")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    tiny_tissue(folder)
    return folder


def train(data, out, *options, processes=1, overrides=None, bundle=BUNDLE):
    """Runs the train command and returns its checkpoint; several processes by torchrun."""
    configs = [bundle / "configs/train.json"]
    if processes > 1:
        configs.append(bundle / "configs/multi_gpu_train.json")
    if overrides:
        out.mkdir(parents=True)
        configs.append(out / "overrides.json")
        configs[-1].write_text(json.dumps(overrides))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), "-m", "monai.bundle", "run"]
    command += ["--config_file", str([str(path) for path in configs])]
    command += ["--bundle_root", str(bundle), "--dataset_dir", str(data), "--output_dir", str(out), *SETTINGS, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT}/tools"}
    done = subprocess.run(command, env=environment, cwd=out.parent, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-9000:]
    return torch.load(out / "checkpoint.pt", weights_only=True)


def same_everywhere(out):
    """Both processes reported the same network, and the same average of its weights."""
    reports = [torch.load(out / f"report-{rank}.pt", weights_only=True) for rank in (0, 1)]
    for which in ("network", "average"):
        for name, tensor in reports[0][which].items():
            assert torch.equal(reports[1][which][name], tensor), f"{which} {name}"


def test_two_processes_take_the_steps_of_one(data, tmp_path):
    """Without dropout and with batch norm frozen nothing depends on which process saw which image."""
    network = {"_target_": "tests.training.processes.frozen_network"}
    batches = {"_target_": "breastkit.training.SharedBatches", "dataset": "@train#dataset", "batch_size": "@batch_size"}
    batches |= {"shuffle": True, "seed": "@seed"}
    loader = {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_sampler": batches}
    overrides = {"network_def": network, "train#dataloader": loader}
    one = train(data, tmp_path / "one", *SMALL, "--max_epochs", "1", overrides=overrides)
    two = train(data, tmp_path / "two", *SMALL, "--max_epochs", "1", processes=2, overrides=overrides)
    assert one["iteration"] == two["iteration"] == 3
    start = frozen_network().state_dict()
    moved = [name for name, tensor in one["network"].items() if not torch.equal(tensor, start[name])]
    assert len(moved) > len(start) / 2
    for name, tensor in one["network"].items():
        torch.testing.assert_close(two["network"][name], tensor, rtol=0, atol=1e-5, msg=name)


@pytest.mark.slow
def test_normal_configuration(data, tmp_path):
    """All processes end with one network and use every slice once an epoch."""
    out = tmp_path / "run"
    report = {"_target_": "tests.training.processes.report", "folder": "@output_dir"}
    overrides = {"+run": [report | {"network": "@network", "average": "@average"}]}
    overrides["+train#handlers"] = [{"_target_": "tests.training.processes.Witness", "folder": "@output_dir"}]
    train(data, out, *SMALL, "--max_epochs", "2", processes=2, overrides=overrides)
    same_everywhere(out)
    seen = [json.loads((out / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    for epoch in ("1", "2"):
        assert sorted(seen[0][epoch] + seen[1][epoch]) == [[case, number] for case in range(3) for number in range(8)]
    assert seen[0]["1"] != seen[0]["2"]


@pytest.mark.slow
def test_evaluation_gives_the_figures_of_one_process(data, tmp_path):
    out = tmp_path / "run"
    checkpoint = train(data, out, *SMALL, "--max_epochs", "1", processes=2)
    figures = checkpoint["curves"]["rows"][0]
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs/train.json")
    parser.update({"dataset_dir": str(data), "image_size": 32, "batch_size": 8, "precision": "f32"})
    average, evaluator = parser.get_parsed_content("average"), parser.get_parsed_content("validate#evaluator")
    state = {name.removeprefix("module."): tensor for name, tensor in checkpoint["weight_average"].items()}
    average.load_state_dict({name: state[name] for name in average.state_dict()})
    evaluator.run()
    assert evaluator.state.metrics["val_dice"] == pytest.approx(figures["val_dice"], abs=1e-6)
    assert evaluator.state.metrics["val_loss"] == pytest.approx(figures["val_loss"], abs=1e-6)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lesions")
    tiny_studies(folder / "source", cases=6)
    prepare_duke(folder / "source", folder / "set", image_size=64, negatives=1.0, workers=1)
    return folder / "set"


@pytest.mark.parametrize(
    ("bundle", "architecture", "size"),
    [("breast_mri_lesion_detection", "yolo11n", 64), ("breast_mri_lesion_segmentation", "attention_unet_small", 32)],
)
@pytest.mark.slow
def test_lesion_bundles_train_in_two_processes(lesions, tmp_path, bundle, architecture, size):
    """The detector and the segmenter of MRI lesions: both processes end with one network."""
    out = tmp_path / "run"
    report = {"_target_": "tests.training.processes.report", "folder": "@output_dir"}
    overrides = {"+run": [report | {"network": "@network", "average": "@average"}]}
    options = ("--architecture", architecture, "--image_size", str(size), "--max_epochs", "1")
    checkpoint = train(lesions, out, *options, processes=2, overrides=overrides, bundle=ROOT / "bundles" / bundle)
    assert checkpoint["iteration"] > 0
    assert read_model_json(out)["architecture"] == architecture
    same_everywhere(out)


def test_without_torchrun_one_sentence(data, tmp_path):
    configs = [str(BUNDLE / "configs" / name) for name in ("train.json", "multi_gpu_train.json")]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(configs)]
    command += ["--bundle_root", str(BUNDLE), "--dataset_dir", str(data), "--output_dir", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "multi_gpu_train.json needs torchrun" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
