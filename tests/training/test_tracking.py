"""Runs of the tissue bundle in MLflow, in SQLite as by default."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import psutil
import pytest
from ignite.engine import Engine
from monai.bundle import run
from tests.apps.server_process import free_port
from tests.bundles.tiny import tiny_tissue

from breastkit.cases import CaseList
from breastkit.errors import BreastkitError
from breastkit.evaluation import compare_runs
from breastkit.training.run_folder import git_revision
from breastkit.training.tracking import MlflowRun, end_lost_runs
from breastkit.weights import load_weights

ROOT = Path(__file__).parents[2]
NAME = "breast_mri_tissue_segmentation"
BUNDLE = ROOT / "bundles" / NAME
# For handlers that are made and never started.
NOTHING = {"bundle": BUNDLE, "cases": CaseList(Path("dataset.json")), "lists": {}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    tiny_tissue(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One database for all tests here, because making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlruns.db'}"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def train(data, out, store, name, *, configs=("train.json",), extra=None, settings="tracking.json", **options):
    files = [str(BUNDLE / "configs" / config) for config in configs]
    if extra:
        files.append(str(out.with_name(f"{out.name}-extra.json")))
        Path(files[-1]).write_text(json.dumps(extra))
    options = {"max_epochs": 2, "image_size": 32, "batch_size": 8, "dataset_dir": str(data), **options}
    folders = {"bundle_root": str(BUNDLE), "output_dir": str(out)}
    tracking = {"tracking": str(ROOT / "mlflow" / settings), "tracking_uri": store, "run_name": name}
    run(config_file=files, **folders, **tracking, **options)


def runs_named(store, name):
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name(NAME)
    runs = client.search_runs(experiment.experiment_id, f"tags.mlflow.runName = '{name}'")
    return client, runs


@pytest.fixture(scope="module")
def tracked(data, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    train(data, out, store, "whole")
    return out


def test_a_finished_run_holds_everything(tracked, store):
    client, (found,) = runs_named(store, "whole")
    assert found.info.status == "FINISHED"
    for metric in ("train_loss", "val_loss", "val_dice"):
        assert [point.step for point in client.get_metric_history(found.info.run_id, metric)] == [1, 2]
    assert "train_loss_step" in found.data.metrics
    settings = json.loads((tracked / "run.json").read_text())["settings"]
    assert {name: found.data.params[name] for name in settings} == {
        name: str(value) for name, value in settings.items()
    }
    assert len(found.data.params["case_list_hash"]) == 64
    assert found.data.tags["mlflow.source.git.commit"] == git_revision()
    artifacts = {artifact.path for artifact in client.list_artifacts(found.info.run_id)}
    assert {"model.pt", "model.json", "metrics.csv", "curves.png", "thresholds.png", "run.json"} <= artifacts
    (config,) = [name for name in artifacts if name.startswith("config_")]
    logged = json.loads(Path(client.download_artifacts(found.info.run_id, config)).read_text())
    assert logged["max_epochs"] == 2
    assert logged["train"]["trainer"]["_target_"] == "breastkit.training.Trainer"
    facts = json.loads(Path(client.download_artifacts(found.info.run_id, "model.json")).read_text())
    # Logged after the threshold search, which comes after the last epoch.
    assert "val_dice_at_threshold" in facts["figures"]
    assert found.data.metrics["images_per_second"] > 0
    assert {"samples"} <= artifacts


def test_a_training_makes_a_model_of_the_data_it_was_validated_on(tracked, store):
    client, (found,) = runs_named(store, "whole")
    (training, validation) = sorted(found.inputs.dataset_inputs, key=lambda each: each.dataset.name)
    assert [each.tags[0].value for each in (training, validation)] == ["training", "validation"]
    counts = json.loads(training.dataset.profile)
    assert counts["images"] >= counts["cases"] > 0
    (output,) = client.get_run(found.info.run_id).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    facts = json.loads((tracked / "model.json").read_text())
    assert model.status == "READY"
    assert (model.tags["sha256"], model.tags["bundle"]) == (facts["sha256"], NAME)
    (metric,) = [metric for metric in model.metrics if metric.key == "model/val_dice"]
    assert (metric.dataset_name, metric.dataset_digest) == (validation.dataset.name, validation.dataset.digest)
    assert metric.value == pytest.approx(facts["figures"]["val_dice"])
    folder = Path(mlflow.artifacts.download_artifacts(model.artifact_location, tracking_uri=store))
    assert load_weights(folder)
    signature = mlflow.models.Model.load(folder).signature
    assert [tensor.shape for tensor in signature.inputs] == [(-1, 1, -1, -1)]


def test_a_broken_run_is_failed_and_goes_on_under_its_name(data, store, tmp_path):
    out = tmp_path / "out"
    breaking = {"+train#handlers": [{"_target_": "tests.bundles.contract.BreakAt", "iteration": 4}]}
    with pytest.raises(RuntimeError):
        train(data, out, store, "broken", extra=breaking)
    _, (found,) = runs_named(store, "broken")
    assert found.info.status == "FAILED"
    train(data, out, store, "broken")
    client, (again,) = runs_named(store, "broken")
    assert again.info.run_id == found.info.run_id
    assert again.info.status == "FINISHED"
    assert {point.step for point in client.get_metric_history(again.info.run_id, "val_loss")} == {1, 2}


def test_a_failing_threshold_search_is_failed(data, store, tmp_path):
    """What comes after the training fails in a process of its own, whose end tells."""
    extra = tmp_path / "extra.json"
    extra.write_text(json.dumps({"threshold_search#folder": str(tmp_path / "nowhere")}))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file"]
    command += [str([str(BUNDLE / "configs/train.json"), str(extra)]), "--bundle_root", str(BUNDLE)]
    command += ["--dataset_dir", str(data), "--output_dir", str(tmp_path / "out"), "--max_epochs", "1"]
    command += ["--image_size", "32", "--tracking", str(ROOT / "mlflow/tracking.json")]
    command += ["--tracking_uri", store, "--run_name", "no threshold"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "does not exist; train first" in done.stderr.strip().splitlines()[-1]
    _, (found,) = runs_named(store, "no threshold")
    assert found.info.status == "FAILED"


def test_evaluation_is_a_run_of_its_own(tracked, data, store):
    train(data, tracked, store, "judged", configs=("train.json", "evaluate.json"), settings="tracking_evaluate.json")
    client, (found,) = runs_named(store, "judged")
    assert found.info.status == "FINISHED"
    assert 0 <= found.data.metrics["dice"] <= 1
    artifacts = {artifact.path for artifact in client.list_artifacts(found.info.run_id)}
    assert "metrics.csv" in artifacts
    assert [name for name in artifacts if name.startswith("config_")]
    # Its figures are the model's, on the list that it was judged on; one call finds the best of a data set.
    (judged,) = found.inputs.dataset_inputs
    best = client.search_logged_models(
        [found.info.experiment_id],
        "metrics.dice >= 0",
        datasets=[{"dataset_name": judged.dataset.name, "dataset_digest": judged.dataset.digest}],
        order_by=[{"field_name": "metrics.dice", "ascending": False}],
    )
    (trained,) = runs_named(store, "whole")[1]
    assert [model.source_run_id for model in best] == [trained.info.run_id]
    # As is MLflow's own page, by a view that is saved with the experiment.
    (view,) = [
        json.loads(value)
        for name, value in client.get_experiment(found.info.experiment_id).tags.items()
        if name.startswith("mlflow.sharedViewState.")
    ]
    shown = json.loads(view["state"])
    assert shown["groupBy"]["groupByKeys"][0]["mode"] == "dataset"
    assert (shown["orderByKey"], shown["orderByAsc"]) == ("metrics.`dice`", False)
    assert len(client.search_runs([found.info.experiment_id], shown["searchFilter"])) == 1
    inputs = client.get_run(found.info.run_id).inputs.model_inputs
    assert [model.model_id for model in inputs] == [best[0].model_id]


def test_tracked_evaluations_are_compared_with_folders(tracked, data, store, tmp_path, monkeypatch):
    train(data, tracked, store, "compared", configs=("train.json", "evaluate.json"), settings="tracking_evaluate.json")
    monkeypatch.setenv("BREASTKIT_REGISTRY", store)
    only = "tags.mlflow.runName = 'compared'"
    compare_runs([str(tracked)], out=str(tmp_path / "out"), experiment=NAME, filter=only)
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    (test,) = found["paired_tests"]["dice"].values()
    # The same evaluation, from its folder and from MLflow.
    assert (len(found["methods"]), test["difference"][0]) == (2, 0)
    (run_id,) = [run.info.run_id for run in runs_named(store, "compared")[1]]
    assert f"/runs/{run_id}" in (tmp_path / "out" / "index.html").read_text()
    for asked, said in (("params.", "It did not work with"), ("metrics.dice > 2", "is an evaluation")):
        with pytest.raises(BreastkitError, match=said):
            compare_runs(out=str(tmp_path / "none"), experiment=NAME, filter=asked)
    with pytest.raises(BreastkitError, match="has no experiment nothing; there are"):
        compare_runs(out=str(tmp_path / "none"), experiment="nothing")


def test_a_run_that_is_asked_to_end_is_killed(store, tmp_path):
    engine = Engine(lambda _engine, _batch: os.kill(os.getpid(), signal.SIGTERM))
    MlflowRun(tmp_path, **NOTHING, tracking_uri=store, experiment_name="asked").attach(engine)
    with pytest.raises(SystemExit) as ended:
        engine.run([0])
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs(client.get_experiment_by_name("asked").experiment_id)
    assert run.info.status == "KILLED"


def test_a_run_whose_process_is_gone_is_killed(store):
    client = mlflow.MlflowClient(store)
    experiment = client.create_experiment("lost")
    ours, lost, elsewhere = (client.create_run(experiment).info.run_id for _ in range(3))
    host, process = socket.gethostname(), psutil.Process()
    for run_id, of, described in (
        (ours, host, f"{process.pid} {process.create_time()}"),
        # Another process has its number now.
        (lost, host, f"{process.pid} 1.0"),
        (elsewhere, "another machine", "1 1.0"),
    ):
        client.set_tag(run_id, "breastkit.host", of)
        client.set_tag(run_id, "breastkit.process", described)
    end_lost_runs(client, experiment)
    statuses = [client.get_run(run_id).info.status for run_id in (ours, lost, elsewhere)]
    assert statuses == ["RUNNING", "KILLED", "RUNNING"]


def test_runs_without_a_name_do_not_merge(store, tmp_path):
    handlers = [
        MlflowRun(tmp_path / name, **NOTHING, tracking_uri=store, experiment_name="names") for name in ("a", "b")
    ]
    assert handlers[0].run_name.startswith("a-")
    assert handlers[0].run_name != handlers[1].run_name


@pytest.mark.parametrize("place", ["mlruns", "file:///tmp/mlruns"])
def test_plain_folders_are_refused_with_the_remedy(tmp_path, place):
    with pytest.raises(BreastkitError, match="give --tracking_uri sqlite:///"):
        MlflowRun(tmp_path, **NOTHING, tracking_uri=place, experiment_name="x")


def test_a_silent_server_is_one_sentence(tmp_path):
    with socket.socket() as silent:
        # Taken, so that nobody else answers there, and nobody listens.
        silent.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BreastkitError, match=f"The MLflow server {address} does not answer"):
            MlflowRun(tmp_path, **NOTHING, tracking_uri=address, experiment_name="x")


@pytest.mark.slow
def test_a_server_by_its_address(data, tmp_path):
    port = str(free_port())
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path / 'server.db'}",
        "--artifacts-destination",
        str(tmp_path / "art"),
    ]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--workers",
        "1",
        *store,
    ]
    server = subprocess.Popen(command, cwd=tmp_path)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            assert server.poll() is None
            try:
                urllib.request.urlopen(f"{address}/health", timeout=30).close()
                break
            except OSError:
                time.sleep(1)
        train(data, tmp_path / "out", address, "remote", max_epochs=1)
        client, (found,) = runs_named(address, "remote")
        assert found.info.status == "FINISHED"
        assert "model.pt" in {artifact.path for artifact in client.list_artifacts(found.info.run_id)}
    finally:
        server.terminate()
        server.wait(60)
