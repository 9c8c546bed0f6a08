"""A sweep whose trials Ray Tune runs side by side on this machine."""

import csv
import json
import shlex

import mlflow
import pytest
from tests.bundles.tiny import tiny_pictures
from tests.test_sweep import NAME, ROOT, space_file

from breastkit.errors import BreastkitError
from breastkit.sweep import sweep

pytest.importorskip("ray.tune", reason="Ray is an extra and not installed: pip install 'breastkit[ray]'")


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Options of a sweep of three seeds, with paths relative to where it is started."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    tiny_pictures(tmp_path / "data", training=8)
    store = {"tracking": str(ROOT / "mlflow/tracking.json"), "tracking_uri": "sqlite:///runs/mlruns.db"}
    return {"dataset_dir": "data", "out": "sweep", "engine": "ray", **store}


@pytest.mark.slow
def test_every_trial_is_a_run_of_its_own_that_ray_runs(tmp_path, options):
    space = space_file(tmp_path, space={"seed": [0, 1], "learning_rate": {"low": 0.001, "high": 0.01}})
    table = sweep(NAME, trials=3, space=str(space), **options)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    folders = sorted(row["user_attrs_folder"] for row in rows)
    assert folders == ["trial_0000", "trial_0001", "trial_0002"]
    assert len({row["params_learning_rate"] for row in rows}) == 3
    assert {row["state"] for row in rows} <= {"COMPLETE", "PRUNED"}
    for folder in folders:
        assert json.loads((tmp_path / "sweep" / folder / "run.json").read_text())["state"] == "finished"
        assert "monai.bundle" in shlex.split((tmp_path / "sweep" / folder / "command.txt").read_text())
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlruns.db")
    found = client.search_runs(client.get_experiment_by_name(NAME).experiment_id)
    parent = next(run for run in found if run.info.run_name == "sweep")
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == [f"sweep/{folder}" for folder in folders]
    assert {run.info.status for run in found} == {"FINISHED"}
    # What is there is enough, and more is gone on with.
    assert sweep(NAME, trials=3, space=str(space), **options).read_text() == table.read_text()


@pytest.mark.slow
def test_a_mistake_in_the_space_is_one_sentence(tmp_path, options):
    space = space_file(tmp_path, space={"architecture": ["no_such_network"]})
    with pytest.raises(BreastkitError, match=r"trial_000[01] failed: .*no_such_network"):
        sweep(NAME, trials=2, space=str(space), **options)
