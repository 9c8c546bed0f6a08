"""The server of a team: `mlflow server` over PostgreSQL, with users, killed and started again."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import requests
from click.testing import CliRunner
from mlflow.db import commands as mlflow_db
from mlflow.entities import Metric, Param
from mlflow.server import get_app_client
from tests.bundles.tiny import tiny_pictures
from tests.team_server import ADMIN, BINARIES, PASSWORD, Database, TeamServer

from breastkit.bundle import Bundle
from breastkit.cli import main
from breastkit.models.registering import register_run

pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")
ROOT = Path(__file__).parents[1]
NAME = "breast_us_lesion_segmentation"
EPOCHS = 12


@pytest.fixture(scope="module")
def database():
    made = Database()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    made = TeamServer(tmp_path_factory.mktemp("server"), database.uri, users=database.make("users"))
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def become(monkeypatch):
    """The administrator, or whom this is called for."""

    def become(name, password):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    become(ADMIN, PASSWORD)
    return become


class Training:
    """A training in a process of its own."""

    def __init__(self, folder, server, name):
        self.out, self.log = folder / name, folder / f"{name}.txt"
        bundle = ROOT / "bundles" / NAME
        options = {
            "dataset_dir": folder / "data",
            "output_dir": self.out,
            "max_epochs": EPOCHS,
            "architecture": "light",
        }
        options |= {"image_size": 32, "batch_size": 4, "tracking": ROOT / "mlflow/tracking.json"}
        options |= {"tracking_uri": server.address, "run_name": name, "bundle_root": bundle}
        words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", bundle / "configs/train.json"]
        words += [word for option, value in options.items() for word in (f"--{option}", str(value))]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(words, cwd=folder, stdout=output, stderr=output)

    @property
    def epochs(self):
        table = self.out / "metrics.csv"
        return len(table.read_text().splitlines()) - 1 if table.is_file() else 0

    def wait_for(self, epochs):
        end = time.monotonic() + 300
        while self.epochs < epochs:
            assert time.monotonic() < end and self.process.poll() in (None, 0), self.log.read_text()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def trainings(server, tmp_path_factory, request):
    """Two at once, during which the server was killed, stayed away for epochs, and came back."""
    folder = tmp_path_factory.mktemp("trainings")
    tiny_pictures(folder / "data", others=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        both = [Training(folder, server, name) for name in ("one", "two")]
    request.addfinalizer(lambda: [training.process.kill() for training in both])
    for training in both:
        training.wait_for(2)
    server.kill()
    there = [training.epochs for training in both]
    assert max(there) < EPOCHS - 3
    for training, epochs in zip(both, there, strict=True):
        training.wait_for(epochs + 3)
    server.start()
    for training in both:
        assert training.process.wait(300) == 0, training.log.read_text()
    return both


@pytest.mark.slow
def test_two_trainings_are_whole_though_the_server_was_killed(server, trainings):
    client = mlflow.MlflowClient(server.address)
    experiment = client.get_experiment_by_name(NAME).experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {"one", "two"}
    for training in trainings:
        run = runs[training.out.name]
        assert run.info.status == "FINISHED"
        assert "The run goes on and is recorded later" in training.log.read_text()
        for metric in ("train_loss", "val_loss", "val_dice"):
            history = client.get_metric_history(run.info.run_id, metric)
            assert [point.step for point in history] == list(range(1, EPOCHS + 1))
        assert run.outputs.model_outputs
        there = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert {"model.pt", "model.json", "samples", "metrics.csv"} <= there


@pytest.mark.slow
def test_a_viewer_sees_everything_and_cannot_promote(server, trainings, become, tmp_path, monkeypatch, capsys):
    bundle = tmp_path / "bundles" / NAME
    shutil.copytree(ROOT / "bundles" / NAME / "configs", bundle / "configs")
    (bundle / "models").mkdir()
    for name in ("model.pt", "model.json"):
        shutil.copy(trainings[0].out / name, bundle / "models" / name)
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(bundle.parent))
    monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("BREASTKIT_REGISTRY", server.address)
    assert "two is version 1" in register_run("two")
    get_app_client("basic-auth", server.address).create_user("viewer", "may only look at it")
    become("viewer", "may only look at it")
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    assert NAME in capsys.readouterr().out
    assert main(["models", "promote", NAME, "1"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert "You may not change the registry" in said[-1] and said[-1].endswith("ask whoever looks after it.")
    assert not any("Traceback" in line for line in said)
    assert Bundle(NAME).version_in_use == 0
    become(ADMIN, PASSWORD)
    assert main(["models", "promote", NAME, "1"]) == 0
    assert Bundle(NAME).version_in_use == 1


def test_a_store_in_sqlite_moves_over(database, tmp_path):
    store, target = f"sqlite:///{tmp_path / 'mlruns.db'}", database.make("moved")
    before = mlflow.MlflowClient(store)
    experiment = before.create_experiment("old", artifact_location=str(tmp_path / "mlruns" / "old"))
    for name in ("first", "second"):
        run = before.create_run(experiment, run_name=name)
        before.log_batch(run.info.run_id, [Metric("dice", 0.5, 0, step) for step in range(3)], [Param("seed", "1")])
    recipe = [sys.executable, ROOT / "mlflow" / "move_store.py", store, target]
    recipe += ["--artifacts", str(tmp_path / "mlruns"), "mlflow-artifacts:/moved"]
    refused = subprocess.run(recipe, capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1 and "run `mlflow db upgrade` on both first" in refused.stderr
    for uri in (store, target):
        assert CliRunner().invoke(mlflow_db, ["upgrade", uri]).exit_code == 0
    subprocess.run(recipe, check=True, timeout=300)
    refused = subprocess.run(recipe, capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1 and "has runs already" in refused.stderr
    after = mlflow.MlflowClient(target)
    runs = after.search_runs([after.get_experiment_by_name("old").experiment_id])
    assert {run.info.run_name for run in runs} == {"first", "second"}
    for run in runs:
        assert run.data.params == {"seed": "1"}
        assert len(after.get_metric_history(run.info.run_id, "dice")) == 3
        assert run.info.artifact_uri == f"mlflow-artifacts:/moved/old/{run.info.run_id}/artifacts"
    # A backup of it is read into another one.
    database.dump("moved", database.folder / "moved.dump")
    restored = database.make("restored")
    database.restore("restored", database.folder / "moved.dump")
    assert len(mlflow.MlflowClient(restored).search_runs([experiment])) == 2
    # The database goes on counting where the file ended.
    assert int(after.create_experiment("new", artifact_location=str(tmp_path))) > int(experiment)


@pytest.mark.slow
def test_a_thousand_runs_are_listed_and_compared(database, server, record_property):
    # Written past the server, which is not what is asked here.
    writing = mlflow.MlflowClient(database.uri)
    experiment = writing.create_experiment("thousand", artifact_location="mlflow-artifacts:/thousand")
    for number in range(1000):
        run = writing.create_run(experiment, run_name=f"run {number}")
        metrics = [Metric("dice", (number * 7919 % 1000) / 1000, 0, step) for step in range(3)]
        writing.log_batch(run.info.run_id, metrics, [Param("seed", str(number))])
        writing.set_terminated(run.info.run_id)
    client, start = mlflow.MlflowClient(server.address), time.perf_counter()
    listed = client.search_runs([experiment], order_by=["metrics.dice DESC"], max_results=1000)
    record_property("seconds to list", round(time.perf_counter() - start, 1))
    dice = [run.data.metrics["dice"] for run in listed]
    assert len(listed) == 1000 and dice == sorted(dice, reverse=True) and dice[0] == 0.999
    # What MLflow's page asks for to draw the curves of a hundred runs.
    start, points = time.perf_counter(), 0
    for first in range(0, 1000, 100):
        asked = [("run_id", run.info.run_id) for run in listed[first : first + 100]] + [("metric_key", "dice")]
        answer = requests.get(
            f"{server.address}/ajax-api/2.0/mlflow/metrics/get-history-bulk", params=asked, auth=(ADMIN, PASSWORD)
        )
        points += len(answer.json()["metrics"])
    record_property("seconds to compare", round(time.perf_counter() - start, 1))
    assert points == 3000
