"""A run that is killed, at whatever moment, goes on with the same command and ends as the unbroken one.

What is exact: with one seed, one thread and a CPU, weights, threshold and figures are those of the unbroken run, bit by
bit. At most the epoch under way is lost.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.bundles.tiny import tiny_tissue
from tests.training.preloaded_runs import PreloadedRuns

from breastkit.training import load_weights, read_model_json

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles" / "breast_mri_tissue_segmentation"
EPOCHS = 4
# Each start of the run but the last is killed: right before the so-manieth of these files is in place, or, without a
# number, a moment after the file is there, while the run works on.
MOMENTS = [
    ("run.json", None),
    ("checkpoint.pt", 1),
    ("checkpoint.pt", None),
    ("model.json", 1),
    ("checkpoint.pt", 1),
    ("thresholds.csv", 1),
    ("run.json", 2),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    tiny_tissue(folder / "data")
    return folder


@pytest.fixture(scope="module")
def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT}/tools"}


@pytest.fixture(scope="module")
def runs(environment, folder):
    runs = PreloadedRuns(environment, folder)
    yield runs
    runs.close()


def words(folder, out):
    options = {"image_size": 32, "batch_size": 8, "precision": "f32", "seed": 3, "max_epochs": EPOCHS}
    options |= {"dataset_dir": folder / "data", "output_dir": out, "bundle_root": BUNDLE}
    return ["--config_file", str(BUNDLE / "configs/train.json")] + [
        word for name, value in options.items() for word in (f"--{name}", str(value))
    ]


def kill(runs, call, out, log, name, number):
    """Starts the run and kills it; returns the names of the temporary files it leaves."""
    runs.start(call, log, killed_at=(name, number))
    assert runs.end() == -signal.SIGKILL, f"{name} {number}: {log.read_text()[-3000:]}"
    return [path.name for path in out.glob(".writing*")]


def epochs_of(log):
    return [int(number) for number in re.findall(rf"INFO Epoch (\d+)/{EPOCHS}: ", log.read_text())]


def rows(out):
    """The figures of every epoch; how long it took is no figure."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in csv.DictReader((out / "metrics.csv").open())
    ]


@pytest.mark.slow
def test_killed_at_many_moments_it_ends_as_the_unbroken_run(folder, environment, runs):
    whole, out = folder / "whole" / "run", folder / "killed" / "run"
    runs.start(words(folder, whole), folder / "whole.txt")
    assert runs.end() == 0, (folder / "whole.txt").read_text()[-3000:]

    finished = 0
    for start, (name, number) in enumerate(MOMENTS):
        log = folder / f"start-{start}.txt"
        left = kill(runs, words(folder, out), out, log, name, number)
        assert bool(left) or number is None
        done = torch.load(out / "checkpoint.pt", weights_only=True)["epoch"] if (out / "checkpoint.pt").exists() else 0
        # It began where the checkpoint of the start before stood, and had lost no more than the epoch under way.
        begun = epochs_of(log)
        assert begun == list(range(finished + 1, finished + 1 + len(begun)))
        assert done - finished in (len(begun), len(begun) - 1)
        finished = done
    assert finished == EPOCHS

    command = [sys.executable, "-m", "monai.bundle", "run", *words(folder, out)]
    last = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)
    assert last.returncode == 0, last.stderr[-3000:]
    assert json.loads((out / "run.json").read_text())["state"] == "finished"
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    assert not list(folder.rglob(".writing*"))
    assert rows(out) == rows(whole)
    assert read_model_json(out) == read_model_json(whole)
    again, unbroken = load_weights(out), load_weights(whole)
    assert all(torch.equal(tensor, unbroken[name]) for name, tensor in again.items())
