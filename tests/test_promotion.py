"""Versions of weights: promoted, rolled back, never lost."""

import json

import pytest
import torch

from breastkit.bundle import Bundle
from breastkit.cli import main
from breastkit.errors import BreastkitError
from breastkit.promotion import promote, rollback
from breastkit.weights import save_weights

BUNDLE = "breast_us_lesion_segmentation"


@pytest.fixture
def bundle(tmp_path):
    save_weights(tmp_path / BUNDLE / "models", {"a": torch.zeros(1)}, architecture="x")
    return Bundle(tmp_path / BUNDLE, models=tmp_path / "models")


def candidate(folder, value):
    save_weights(folder, {"a": torch.full((1,), float(value))}, architecture="x")
    return folder


def test_a_promoted_version_is_used_and_rolled_back(bundle, tmp_path):
    models = bundle.models
    assert bundle.weights_in_use == bundle.shipped_weights
    assert promote(bundle, candidate(tmp_path / "one", 1), figures={"dice": 0.5}) == 1
    assert promote(bundle, candidate(tmp_path / "two", 2), figures={}) == 2
    assert bundle.weights_in_use.parent.name == "000002"
    assert "version 1 again" in rollback(BUNDLE, models=str(models))
    assert torch.load(bundle.weights_in_use)["a"] == 1
    # What was rolled back is kept, and its number is not given again.
    assert promote(bundle, candidate(tmp_path / "three", 3), figures={}) == 3
    rollback(BUNDLE, models=str(models))
    assert bundle.weights_in_use.parent.name == "000001"
    rollback(BUNDLE, models=str(models))
    assert bundle.weights_in_use == bundle.shipped_weights
    with pytest.raises(BreastkitError, match="nothing before"):
        rollback(BUNDLE, models=str(models))


def test_what_was_killed_on_its_way_is_not_used(bundle, tmp_path):
    promote(bundle, candidate(tmp_path / "one", 1), figures={})
    # Copied, and killed before it was the current one.
    promote(bundle, candidate(tmp_path / "two", 2), figures={})
    (bundle.promoted / "current.json").write_text(json.dumps({"version": 1}))
    (bundle.promoted / ".writing-x").mkdir()
    assert bundle.weights_in_use.parent.name == "000001"


def test_damaged_weights_are_not_promoted(bundle, tmp_path):
    folder = candidate(tmp_path / "one", 1)
    (folder / "model.pt").write_bytes(b"damaged")
    with pytest.raises(BreastkitError):
        promote(bundle, folder, figures={})
    assert bundle.weights_in_use == bundle.shipped_weights


def test_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["models", "list"]) == 0
    assert f"* {BUNDLE}  the shipped weights" in capsys.readouterr().out
    assert main(["models", "rollback", BUNDLE]) == 1
