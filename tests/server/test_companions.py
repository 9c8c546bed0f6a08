"""Servers beside the annotation server, as processes of their own."""

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest
from tests.apps.server_process import free_port

from breastkit.errors import BreastkitError
from breastkit.saved_view import save_view, saved_views
from breastkit.server.companions import Companion, mlflow_interface


def alive(group):
    """Returns the processes of a group, those left out that ended and wait for their parent to notice."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(path.parent.name)
    return found


def test_mlflow_shows_the_runs_and_leaves_nothing_running(tmp_path):
    store = tmp_path / "tracked runs" / "mlruns.db"
    store.parent.mkdir()
    client = mlflow.MlflowClient(f"sqlite:///{store}")
    experiment = client.create_experiment("phantoms", artifact_location=str(tmp_path / "artifacts"))
    client.set_terminated(client.create_run(experiment, run_name="first").info.run_id)
    client.create_experiment("never judged", artifact_location=str(tmp_path / "artifacts"))
    save_view(client, experiment, ["iou", "dice"])
    with mlflow_interface(store) as interface:
        interface.wait()
        with urllib.request.urlopen(interface.address, timeout=60) as page:
            assert b"MLflow" in page.read()
        told = f"{interface.address}api/2.0/mlflow/experiments/get-by-name?experiment_name=phantoms"
        with urllib.request.urlopen(told, timeout=60) as answer:
            assert "phantoms" in answer.read().decode()
        ((name, view),) = saved_views(interface.address)
        assert name == "phantoms"
        assert view.startswith(f"{interface.address}#/experiments/{experiment}/runs?viewStateShareKey=")
        group = interface._process.pid
        assert alive(group)
    end = time.monotonic() + 60
    while alive(group) and time.monotonic() < end:
        time.sleep(0.2)
    assert not alive(group)
    # Then there is nothing to lead to, and the start page says no more.
    assert saved_views(interface.address) == []


# The annotation server's own way to serve, with a companion, around an application that starts at once.
SERVING = """
import sys
from breastkit.server import serve
from breastkit.server.companions import Companion

async def app(scope, receive, send):
    message = await receive()
    while scope["type"] == "lifespan":
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
        message = await receive()

serve.end_blocks_on_sigterm()
with Companion("A server", "http.server", ["{port}", "--bind", "127.0.0.1"]) as companion:
    print(companion._process.pid, flush=True)
    serve._serve(app, "127.0.0.1", int(sys.argv[1]), [companion])
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_companions_end_with_the_server_however_it_ends(sent):
    command = [sys.executable, "-c", SERVING, str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        group = int(server.stdout.readline())
        assert server.stdout.readline().startswith("Ready: ")
        assert alive(group)
        server.send_signal(sent)
        server.wait(60)
    end = time.monotonic() + 60
    while alive(group) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(group)


def test_what_does_not_start_is_a_sentence(tmp_path):
    with (
        Companion("The calendar", "calendar", ["{port}", "no month"]) as companion,
        pytest.raises(BreastkitError, match="The calendar did not start: "),
    ):
        companion.wait()
    with pytest.raises(BreastkitError, match="track a run first"):
        mlflow_interface(tmp_path / "mlruns.db")
