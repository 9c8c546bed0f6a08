import json
from pathlib import Path

import pytest
from tests.bundles.tiny import tiny_tissue

from breastkit.errors import BreastkitError
from breastkit.training import RunFolder, case_list_hash

ROOT = Path(__file__).parents[2]
SETTINGS = {"architecture": "compact", "image_size": 32, "fold": None, "seed": 0, "max_epochs": 3, "batch_size": 8}
SETTINGS |= {"learning_rate": 0.001, "case_list_hash": "a1"}


def test_life_of_a_run(tmp_path, caplog):
    caplog.set_level("INFO", "breastkit")
    folder = tmp_path / "run"
    RunFolder(folder, settings=SETTINGS).start()
    assert "Starting a run" in caplog.text
    (folder / "checkpoint.pt").write_text("an epoch")
    (folder / ".writing-half.pt").write_text("what a killed run was writing")
    again = RunFolder(folder, settings=SETTINGS)
    again.start()
    assert "Going on with the run" in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.pt", "run.json"]
    again.finish()
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    with pytest.raises(BreastkitError, match="holds a finished run; start over with --resume false"):
        RunFolder(folder, settings=SETTINGS).start()


@pytest.mark.parametrize("resume", [False, "false", "False", "no"])
def test_starting_over_removes_the_run_and_nothing_else(tmp_path, resume):
    first = RunFolder(tmp_path, settings=SETTINGS)
    first.start()
    first.finish()
    for name in ("checkpoint.pt", "model.pt", "metrics.csv", "notes.txt"):
        (tmp_path / name).write_text("")
    RunFolder(tmp_path, resume=resume, settings=SETTINGS | {"seed": 7}).start()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "run.json"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("architecture", "reference"),
        ("image_size", 64),
        ("fold", 1),
        ("seed", 5),
        ("max_epochs", 9),
        ("batch_size", 16),
        ("learning_rate", 0.01),
        ("case_list_hash", "b2"),
    ],
)
def test_an_unfinished_run_keeps_its_settings(tmp_path, name, value):
    RunFolder(tmp_path, settings=SETTINGS).start()
    (tmp_path / "checkpoint.pt").write_text("an epoch")
    with pytest.raises(BreastkitError, match=f"unfinished run with {name} {SETTINGS[name]}, not {value}"):
        RunFolder(tmp_path, settings=SETTINGS | {name: value}).start()


def test_everything_that_changed_is_named(tmp_path):
    RunFolder(tmp_path, settings=SETTINGS | {"shape": (3, 4)}).start()
    (tmp_path / "checkpoint.pt").write_text("an epoch")
    RunFolder(tmp_path, settings=SETTINGS | {"shape": (3, 4)}).start()
    with pytest.raises(BreastkitError, match="with max_epochs 3, not 9 and batch_size 8, not 16; continue it"):
        RunFolder(tmp_path, settings=SETTINGS | {"shape": (3, 4), "max_epochs": 9, "batch_size": 16}).start()
    assert json.loads((tmp_path / "run.json").read_text())["settings"] == {**SETTINGS, "shape": [3, 4]}


@pytest.mark.parametrize("path", sorted(ROOT.glob("bundles/*/configs/train.json")), ids=lambda path: path.parts[-3])
def test_bundles_name_what_decides_their_weights(path):
    settings = json.loads(path.read_text())["run_folder"]["settings"]
    assert settings.keys() >= SETTINGS.keys()


def test_a_run_without_an_epoch_does_not_bind_the_next(tmp_path):
    RunFolder(tmp_path, settings=SETTINGS | {"architecture": "mistyped"}).start()
    RunFolder(tmp_path, settings=SETTINGS).start()
    assert json.loads((tmp_path / "run.json").read_text())["settings"] == SETTINGS


def test_broken_record_is_one_sentence(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BreastkitError, match=r"run\.json is no JSON"):
        RunFolder(tmp_path, settings=SETTINGS).start()


def test_hash_is_that_of_the_case_list_or_of_the_items(tmp_path):
    cases = tiny_tissue(tmp_path / "a")
    assert case_list_hash(tmp_path / "a", cases.training, cases.validation) == cases.hash
    elsewhere = [{"image": "/store/x.nii.gz", "label": "/store/x_mask.nii.gz"}]
    own = case_list_hash(tmp_path / "a", elsewhere, [])
    assert own != cases.hash
    assert own == case_list_hash(tmp_path / "nowhere", elsewhere, [])


def test_what_every_run_says_of_its_weights(tmp_path):
    facts = RunFolder(tmp_path / "run7", settings={"architecture": "small", "seed": 3, "batch_size": 8}).facts
    assert facts == {"run": "run7", "architecture": "small", "seed": 3}
