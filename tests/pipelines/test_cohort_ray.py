"""A cohort on a Ray cluster of two machines, one of which is lost in the middle."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from tests.bundles.tiny import tiny_studies
from tests.pipelines.test_cohort import contents, table

from breastkit import cli
from breastkit.pipelines.mri import MriStudies

pytest.importorskip("ray", reason="Ray is an extra and not installed: pip install 'breastkit[ray]'")
PATIENCE = 400
STUDIES = 8


@contextmanager
def cluster_of_two():
    """Two machines, as Ray starts them for its own tests: with a core and memory each, and a head that only leads."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    memory = int(MriStudies.memory_gb * 1e9)
    try:
        yield cluster, [cluster.add_node(num_cpus=1, memory=memory) for _ in range(2)]
    finally:
        cluster.shutdown()


def done(out):
    return sorted(path.parent.name for path in out.glob("DUKE_*/lesions.csv"))


@pytest.mark.slow
def test_a_machine_is_lost_and_every_study_is_done_once(tmp_path):
    studies = tiny_studies(tmp_path / "tiny", cases=STUDIES) / "images"
    out, words = tmp_path / "out", ["run", "mri", str(studies), "--cohort"]
    with cluster_of_two() as (cluster, machines):
        command = [sys.executable, "-m", "breastkit.cli", *words, "--out", "out"]
        command += ["--engine", "ray", "--address", cluster.address]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + PATIENCE
        # A study under way on either machine.
        while len(list(out.glob(".writing-*"))) < 2 and not done(out):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        cluster.remove_node(machines[0], allow_graceful=False)
        assert len(done(out)) < STUDIES - 1
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert done(out) == sorted(path.name for path in studies.iterdir())
    assert table(out / "failures.csv") == []
    assert not list(out.glob(".writing-*"))
    assert json.loads((out / "cohort.json").read_text())["studies"] == STUDIES
    rows = [row["study"] for row in table(out / "summary.csv") if row["row"] == "study"]
    assert rows == done(out)
    assert cli.main([*words, "--out", str(tmp_path / "here"), "--workers", "2"]) == 0
    assert contents(out) == contents(tmp_path / "here")
    for name in ("summary.csv", "failures.csv", "index.html"):
        assert (out / name).read_text() == (tmp_path / "here" / name).read_text()


def test_a_cluster_that_is_not_there(tmp_path, capfd):
    studies = tiny_studies(tmp_path / "tiny", cases=1) / "images"
    words = ["run", "mri", str(studies), "--cohort", "--out", str(tmp_path / "out"), "--engine", "ray"]
    assert cli.main([*words, "--address", "127.0.0.1:1"]) == 1
    assert "The Ray cluster 127.0.0.1:1 cannot be reached; start it, or correct --address." in capfd.readouterr().err
