"""Versions of weights: promoted, rolled back, never lost."""

import json

import pytest
import torch

from breastkit.cli import main
from breastkit.errors import BreastkitError
from breastkit.training.promotion import promote, rollback, weights_in_use
from breastkit.training.weights import save_weights

BUNDLE = "breast_us_lesion_segmentation"


@pytest.fixture
def bundle(tmp_path):
    save_weights(tmp_path / BUNDLE / "models", {"a": torch.zeros(1)}, architecture="x")
    return tmp_path / BUNDLE


def candidate(folder, value):
    save_weights(folder, {"a": torch.full((1,), float(value))}, architecture="x")
    return folder


def test_a_promoted_version_is_used_and_rolled_back(bundle, tmp_path):
    models = tmp_path / "models"
    assert weights_in_use(bundle, models=models) == bundle / "models" / "model.pt"
    assert promote(bundle, candidate(tmp_path / "one", 1), figures={"dice": 0.5}, models=models) == 1
    assert promote(bundle, candidate(tmp_path / "two", 2), figures={}, models=models) == 2
    assert weights_in_use(bundle, models=models).parent.name == "000002"
    assert "version 1 again" in rollback(BUNDLE, models=str(models))
    assert torch.load(weights_in_use(bundle, models=models))["a"] == 1
    # What was rolled back is kept, and its number is not given again.
    assert promote(bundle, candidate(tmp_path / "three", 3), figures={}, models=models) == 3
    rollback(BUNDLE, models=str(models))
    assert weights_in_use(bundle, models=models).parent.name == "000001"
    rollback(BUNDLE, models=str(models))
    assert weights_in_use(bundle, models=models) == bundle / "models" / "model.pt"
    with pytest.raises(BreastkitError, match="nothing before"):
        rollback(BUNDLE, models=str(models))


def test_what_was_killed_on_its_way_is_not_used(bundle, tmp_path):
    models = tmp_path / "models"
    promote(bundle, candidate(tmp_path / "one", 1), figures={}, models=models)
    # Copied, and killed before it was the current one.
    promote(bundle, candidate(tmp_path / "two", 2), figures={}, models=models)
    (models / BUNDLE / "current.json").write_text(json.dumps({"version": 1}))
    (models / BUNDLE / ".writing-x").mkdir()
    assert weights_in_use(bundle, models=models).parent.name == "000001"


def test_damaged_weights_are_not_promoted(bundle, tmp_path):
    folder = candidate(tmp_path / "one", 1)
    (folder / "model.pt").write_bytes(b"damaged")
    with pytest.raises(BreastkitError):
        promote(bundle, folder, figures={}, models=tmp_path / "models")
    assert weights_in_use(bundle, models=tmp_path / "models") == bundle / "models" / "model.pt"


def test_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["models", "list"]) == 0
    assert f"* {BUNDLE}  the shipped weights" in capsys.readouterr().out
    assert main(["models", "rollback", BUNDLE]) == 1
