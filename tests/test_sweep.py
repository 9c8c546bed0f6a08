"""A sweep: spaces, pruning, and a real trial that a stopped sweep left behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import optuna
import pytest
from tests.bundles.tiny import tiny_pictures

from breastkit.bundle import Bundle
from breastkit.cli import main
from breastkit.errors import BreastkitError
from breastkit.sweep import Space, TrialRuns, sweep

ROOT = Path(__file__).parents[1]
NAME = "breast_us_lesion_segmentation"
FIXED = {"image_size": 32, "max_epochs": 1, "batch_size": 8, "architecture": "light"}


def space_file(folder, **content):
    path = folder / "space.json"
    path.write_text(json.dumps({"fixed": FIXED, "space": {"seed": [0, 1]}, **content}))
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"space": {"seed": 3}}, "does not say what 'seed' is chosen from"),
        ({"space": {}}, "it needs a space"),
        ({"direction": "up"}, "maximize or minimize"),
        ({"fixed": 1}, "is no space"),
    ],
)
def test_what_is_no_space_is_one_sentence(tmp_path, content, said):
    with pytest.raises(BreastkitError, match=said):
        Space.read(space_file(tmp_path, **content))
    with pytest.raises(BreastkitError, match=r"nowhere.json does not exist; mlflow/space_example.json"):
        Space.read(tmp_path / "nowhere.json")


def test_the_example_chooses_options_of_the_config():
    space = Space.read(ROOT / "mlflow" / "space_example.json")
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    options = space.options(trial)
    assert options["architecture"] in ("light", "unet_small")
    assert 0.0003 <= options["learning_rate"] <= 0.01
    assert options["loss"]["sigmoid"] is True
    config = json.loads((ROOT / "bundles" / NAME / "configs" / "train.json").read_text())
    for name in options:
        part = config
        for key in name.split("#"):
            part = part[int(key) if isinstance(part, list) else key]


@pytest.fixture
def runs(tmp_path):
    space = Space.read(space_file(tmp_path))
    return TrialRuns(Bundle(NAME), tmp_path, space, tmp_path, ROOT / "mlflow/tracking.json", "sqlite:///x.db", "p")


def test_a_trial_that_lags_behind_is_ended(runs, tmp_path):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    good = study.ask()
    for epoch in (1, 2):
        good.report(0.9, epoch)
    study.tell(good, 0.9)
    place = tmp_path / "trial_0001"
    place.mkdir()
    (place / "metrics.csv").write_text("epoch,val_dice\n1,0.1\n2,0.2\n")
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(optuna.TrialPruned, match="lags behind after epoch 2"):
        runs._run(study.ask(), command, place)
    (place / "metrics.csv").write_text("epoch,val_dice\n1,0.95\n2,0.95\n")
    with pytest.raises(BreastkitError, match="trial_0001 failed: of what is said last"):
        runs._run(study.ask(), [sys.executable, "-c", "import sys; sys.exit('of what is said last')"], place)


def test_a_stopped_sweep_goes_on_with_its_trial(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tiny_pictures(tmp_path / "data", training=8)
    store, out = f"sqlite:///{tmp_path / 'mlruns.db'}", tmp_path / "sweep"
    out.mkdir()
    left = optuna.create_study(storage=f"sqlite:///{out / 'sweep.db'}", study_name="sweep", direction="maximize").ask()
    assert left.suggest_categorical("seed", ["0", "1"]) in "01"
    left.set_user_attr("folder", "trial_0000")
    options = {"space": str(space_file(tmp_path)), "dataset_dir": str(tmp_path / "data"), "out": str(out)}
    table = sweep(NAME, trials=1, tracking=str(ROOT / "mlflow/tracking.json"), tracking_uri=store, **options)
    study = optuna.load_study(storage=f"sqlite:///{out / 'sweep.db'}", study_name="sweep")
    stopped, done = study.get_trials()
    assert (stopped.state.name, done.state.name) == ("FAIL", "COMPLETE")
    assert (done.params, done.user_attrs["folder"]) == (left.params, "trial_0000")
    assert len(table.read_text().splitlines()) == 3
    command = (out / "trial_0000" / "command.txt").read_text().strip()
    assert f"--seed {left.params['seed']}" in command
    client = mlflow.MlflowClient(store)
    found = client.search_runs(client.get_experiment_by_name(NAME).experiment_id)
    runs = {run.info.run_name: run for run in found}
    parent, child = runs["sweep"], runs["sweep/trial_0000"]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["breastkit.command"] == command
    assert done.value == pytest.approx(
        max(point.value for point in client.get_metric_history(child.info.run_id, "val_dice"))
    )
    # What is there is enough: nothing is run, and nothing else may run beside it.
    sweep(NAME, trials=1, tracking_uri=store, **options)
    assert len(study.get_trials()) == 2


def test_two_sweeps_in_one_folder_and_none_at_all_are_refused(tmp_path, capsys):
    tiny_pictures(tmp_path / "data", training=8)
    words = ["sweep", NAME, "--space", str(space_file(tmp_path)), "--dataset_dir", str(tmp_path / "data")]
    words += ["--out", str(tmp_path / "out"), "--tracking_uri", f"sqlite:///{tmp_path / 'x.db'}"]
    assert main([*words, "--trials", "0"]) == 2
    (tmp_path / "out").mkdir()
    holding = "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, 2); print(flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path / "out/.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        other.stdout.readline()
        assert main(words) == 1
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    assert "A sweep runs in" in capsys.readouterr().err
