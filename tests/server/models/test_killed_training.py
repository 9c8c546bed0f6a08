"""Killed at any moment of a training or a promotion: a whole version or none is in use, and the state told is true."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from tests.bundles.tiny import AFFINE, breast_scan
from tests.server.models.killed_training import KilledCalls

from breastkit.bundle import Bundle
from breastkit.images import write_nifti
from breastkit.promotion import promote, version_of_training
from breastkit.server.labels.label_uses import use_of
from breastkit.server.models.label_training import LabelTraining, collect_labels
from breastkit.server.models.promotion_rules import LEAST_CASES
from breastkit.server.studies.study_store import open_store
from breastkit.weights import load_weights, save_weights

ROOT = Path(__file__).parents[3]
TISSUE = "breast_mri_tissue_segmentation"


@pytest.fixture(scope="module")
def calls():
    calls = KilledCalls(
        {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT}/tools"}
    )
    yield calls
    calls.close()


@pytest.mark.parametrize("moment", ["promotion.json", "000002", "current.json"])
def test_a_promotion_that_is_killed_leaves_the_version_before(calls, tmp_path, moment):
    bundle, models = tmp_path / TISSUE, tmp_path / "models"
    for number in range(3):
        folder = bundle / "models" if number == 0 else tmp_path / str(number)
        save_weights(folder, {"a": torch.full((1,), float(number))}, architecture="x")
    used = Bundle(bundle, models=models)
    promote(used, tmp_path / "1", figures={})
    words = (bundle, tmp_path / "2", models)
    assert calls.run("promote", *words, log=tmp_path / "log.txt", killed_at=(moment, 1)) == -signal.SIGKILL
    assert load_weights(used.weights_in_use)["a"] == 1
    # Whole, or not there at all.
    assert bool(version_of_training("x", used)) == (moment == "current.json")
    assert calls.run("promote", *words, log=tmp_path / "log.txt") == 0, (tmp_path / "log.txt").read_text()
    assert load_weights(used.weights_in_use)["a"] == 2


@pytest.fixture
def training(tmp_path):
    """Labelled volumes, as many as a promotion needs, and what the server starts a training with."""
    for number in range(2 * LEAST_CASES):
        write_nifti(tmp_path / "studies" / f"breast{number}.nii.gz", breast_scan(number)[0], AFFINE)
    store = open_store(str(tmp_path / "studies"))
    for number in range(2 * LEAST_CASES):
        grid = store.images.grid_of(store.image(f"breast{number}"))
        store.labels.save(f"breast{number}", breast_scan(number)[1], grid, names={"breast": 1})
    job = store.folder / ".training" / "000001"
    collect_labels(store, use_of(Bundle(TISSUE)), job / "cases")
    options = {"max_epochs": 1, "batch_size": 4, "learning_rate": 1e-9}
    settings = {"bundle": str(Bundle(TISSUE).folder), "models": str(tmp_path / "models"), "options": options}
    (job / "job.json").write_text(json.dumps({**settings, "training": "this one"}))
    return store, job, Bundle(TISSUE, models=tmp_path / "models")


def state_after_restart(store):
    """What a server that starts anew over the same studies tells."""
    return LabelTraining(open_store(str(store.images.folder))).state()


@pytest.mark.parametrize("moment", ["run.json", "checkpoint.pt"])
def test_a_training_that_is_killed_is_told_as_stopped(calls, training, moment):
    store, job, bundle = training
    assert calls.run("train", job, log=job / "log.txt", killed_at=(moment, 1)) == -signal.SIGKILL
    state = state_after_restart(store)
    assert (state["status"], state["model"]) == ("STOPPED", TISSUE)
    assert "those of before" in state["says"]
    assert bundle.weights_in_use == bundle.shipped_weights


@pytest.mark.slow
def test_what_was_promoted_is_told_although_nothing_could_say_so(calls, training):
    store, job, bundle = training
    assert calls.run("train", job, log=job / "log.txt", killed_at=("result.json", 1)) == -signal.SIGKILL
    state, version = state_after_restart(store), bundle.version_in_use
    compared = json.loads((job / "comparison.json").read_text())
    assert version == int(not compared["why_not"]) == 1, compared
    assert (state["status"], "version 1" in state["says"]) == ("DONE", True)
    load_weights(bundle.weights_in_use)


def test_a_version_that_did_not_come_into_use_is_told(training, tmp_path):
    store, job, bundle = training
    save_weights(tmp_path / "run", {"a": torch.zeros(1)}, architecture="x")
    promote(bundle, tmp_path / "run", figures={"training": "this one"})
    (bundle.promoted / "current.json").unlink()
    (job / "training.json").write_text(json.dumps({"pid": 0, "started": "", "model": TISSUE}))
    state = state_after_restart(store)
    assert (state["status"], state["says"]) == ("STOPPED", "Stopped; version 1 is kept and not in use.")
