"""Entry points of `mlflow run`: every bundle has its three, and what they say exists."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.projects._project_spec import load_project
from monai.bundle import ConfigParser
from tests.bundles.tiny import tiny_pictures

from breastkit.training.run_folder import git_revision

ROOT = Path(__file__).parents[1]
BUNDLES = sorted(path.name for path in (ROOT / "bundles").iterdir() if (path / "configs").is_dir())
VERBS = {"train": ["train.json"], "evaluate": ["train.json", "evaluate.json"], "inference": ["inference.json"]}
SEGMENTATION = "breast_us_lesion_segmentation"


def options_of(entry):
    """Returns what the command of an entry point gives `monai.bundle run`."""
    words = shlex.split(entry.compute_command({"dataset_dir": str(ROOT)}, storage_dir=None))
    assert words[: words.index("run") + 1] == ["cd", "..", "&&", "python", "-m", "monai.bundle", "run"]
    given = words[words.index("run") + 1 :]
    return dict(zip((word.removeprefix("--") for word in given[::2]), given[1::2], strict=True))


@pytest.fixture(scope="module")
def commands():
    """The options of every entry point, by bundle and verb."""
    found = {}
    for name, entry in load_project(str(ROOT / "mlflow"))._entry_points.items():
        options = options_of(entry)
        key = (Path(options["bundle_root"]).name, name.partition("_")[0])
        assert key not in found
        found[key] = options
    return found


def test_every_bundle_has_its_three(commands):
    assert set(commands) == {(bundle, verb) for bundle in BUNDLES for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_command_names_configs_and_options_that_there_are(commands, bundle, verb):
    options = dict(commands[bundle, verb])
    named = options.pop("config_file").strip("[]").replace("'", "").split(",")
    assert named == [f"bundles/{bundle}/configs/{name}" for name in VERBS[verb]]
    parser = ConfigParser()
    parser.read_config([str(ROOT / path) for path in named])
    parser.parse()
    tracking = options.pop("tracking", None)
    assert (tracking is None) == (verb == "inference")
    if tracking:
        settings = ConfigParser.load_config_file(ROOT / tracking)
        for part in settings["handlers_id"].values():
            assert part["id"] in parser and part["handlers"] in parser
    assert set(options) == {"bundle_root", "dataset_dir"} and set(options) <= set(parser.config)


def test_a_training_runs_in_the_run_that_mlflow_opens(tmp_path):
    tiny_pictures(tmp_path / "data")
    store = f"sqlite:///{tmp_path / 'mlruns.db'}"
    given = {
        "dataset_dir": "data",
        "output_dir": tmp_path / "out",
        "max_epochs": 1,
        "architecture": "light",
        "image_size": 32,
        "run_name": "first",
    }
    words = [sys.executable, "-m", "mlflow", "run", str(ROOT / "mlflow"), "-e", "train_us_segmentation"]
    words += ["--env-manager", "local", "--experiment-name", SEGMENTATION]
    words += [word for name, value in given.items() for word in ("-P", f"{name}={value}")]
    # The command starts the `python` that it finds.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": store}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name(SEGMENTATION).experiment_id])
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.tags["mlflow.project.entryPoint"] == "train_us_segmentation"
    assert run.data.tags["mlflow.source.git.commit"] == git_revision()
    assert "val_dice" in run.data.metrics and (tmp_path / "out" / "model.pt").is_file()
