"""A server without models: for annotating and reviewing alone, without torch."""

import os
from pathlib import Path

import cv2
import pytest
import requests
from tests.apps.server_process import command, free_port, wait_for_line

from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("no_models")
    phantom = make_us_phantom(5, 1, size=(60, 80))
    write_png(folder / "studies" / "us.png", phantom.image)
    # A bundle without weights of its own is no hindrance.
    metadata = Path(__file__).parents[2] / "bundles" / "breast_us_lesion_segmentation" / "configs" / "metadata.json"
    (folder / "bundles" / "no_weights" / "configs").mkdir(parents=True)
    (folder / "bundles" / "no_weights" / "configs" / "metadata.json").write_bytes(metadata.read_bytes())
    os.environ["BREASTKIT_BUNDLES"] = str(folder / "bundles")
    port = free_port()
    words = ["breastkit", "serve", "--studies", str(folder / "studies"), "--port", str(port), "--no-models"]
    try:
        with command(words, port, log=folder / "log.txt") as address:
            wait_for_line(f"Ready: {address}/", folder / "log.txt")
            yield address, folder, phantom
    finally:
        del os.environ["BREASTKIT_BUNDLES"]


def test_labels_are_saved_and_torch_is_not_there(server):
    address, folder, phantom = server
    sample = requests.post(f"{address}/activelearning/first", json={}).json()
    assert sample["id"] == "us"
    label = {"label": ("label.png", cv2.imencode(".png", phantom.mask)[1].tobytes())}
    assert requests.put(f"{address}/datastore/label?image=us", files=label).json()["version"] == 1
    assert requests.get(f"{address}/datastore/dataset").headers["content-type"] == "application/zip"
    page = requests.get(f"{address}/").text
    assert "1 image, 1 with a label" in page and 'id="models"' not in page
    info = requests.get(f"{address}/info/").json()
    assert (info["models"], info["trainers"], info["train_stats"], info["scoring"]) == ({}, {}, {}, {})
    assert set(info["strategies"]) == {"random", "first"}
    assert {"breast", "lesion"} <= set(info["labels"])
    # Every library that the server has loaded is a mapped file of its process.
    started = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder / "studies").encode() in read(path)]
    (maps,) = {path.with_name("maps") for path in started}
    assert b"libtorch" not in read(maps) and b"numpy" in read(maps)


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_who_asks_for_a_model_gets_a_sentence(server):
    address = server[0]
    for path in ("/infer/breast_us_lesion_segmentation?image=us", "/train/", "/train/x", "/scoring/", "/batch/infer/x"):
        answer = requests.post(address + path)
        assert answer.status_code == 404
        assert answer.json()["detail"] == "This server runs and trains no models (--no-models); ask one that does."
    for path in ("/train/", "/scoring/", "/batch/infer"):
        assert requests.get(address + path).json() == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--double", "0.2"], "--double needs --users"),
        (["--double", "2"], "--double 2 is no share of the images; give one from 0 to 1."),
        (["--assigned-hours", "0"], "--assigned-hours 0 is no time; give hours above 0."),
    ],
)
def test_wrong_options_get_a_sentence(tmp_path, capsys, words, sentence):
    from breastkit.cli import main

    assert main(["serve", "--studies", str(tmp_path), "--no-models", *words]) == 1
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
