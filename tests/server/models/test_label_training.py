"""Labels train a candidate, which is used only if the rules of a promotion let it."""

import io
import json
import os
import time

import cv2
import pytest
import requests
from tests.server.served_app import served

from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.models.label_training import Stratum, assign_split

MODEL = "breast_us_lesion_segmentation"
_PATIENCE = 540


def alike(names, kind="picture"):
    return {name: Stratum(kind) for name in names}


def test_the_split_keeps_what_it_has_and_mixes_new_ones_in():
    first = assign_split({}, alike("abc"))
    assert first == {"a": "training", "b": "validation", "c": "training"}
    later = assign_split(first, alike("zbcayxw"))
    assert {name: later[name] for name in first} == first
    # Every second one until a promotion has its five, then one of five.
    assert [name for name, one in later.items() if one == "validation"] == ["b", "z", "x"]
    many = assign_split({}, alike(f"{number:03}" for number in range(40)))
    assert [number for number in range(40) if many[f"{number:03}"] == "validation"] == [1, 3, 5, 7, 9, 26, 31, 36]


def test_every_class_and_every_kind_gets_into_both_lists():
    strata = {f"{name}{number}": Stratum("picture", name) for number in range(2) for name in ("benign", "malignant")}
    split = assign_split({}, strata | alike(("m", "n"), "volume lesion"))
    # Two pictures are enough to begin, of whatever class.
    assert split == {
        "benign0": "training", "malignant0": "validation", "benign1": "validation", "malignant1": "training",
        "m": "training", "n": "validation",
    }  # fmt: skip


@pytest.fixture(scope="module")
def phantoms():
    return {f"us_{case}": make_us_phantom(5, case) for case in range(1, 4)}


@pytest.fixture(scope="module")
def server(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    for name, phantom in phantoms.items():
        write_png(folder / "studies" / f"{name}.png", cv2.resize(phantom.image, None, fx=0.3, fy=0.3))
    with served(folder / "studies", conf={"models": str(folder / "models")}) as (address, services):
        yield address, services, folder


def save(address, name, phantom):
    mask = cv2.resize(phantom.mask, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_NEAREST)
    label = {"label": ("label.png", io.BytesIO(cv2.imencode(".png", mask)[1].tobytes()))}
    params = json.dumps(
        {"label_info": [{"name": "lesion", "idx": 1}], "class": phantom.label, "nothing": not mask.any()}
    )
    answer = requests.put(f"{address}/datastore/label?image={name}", files=label, data={"params": params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for_end(address):
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        state = requests.get(f"{address}/train/").json()
        if state["status"] != "RUNNING":
            return state
        time.sleep(0.5)
    raise AssertionError(state)


def test_one_round_of_the_loop(server, phantoms):
    address, services, folder = server
    assert requests.get(f"{address}/train/").json() == {}
    assert requests.get(f"{address}/train/?check_if_running=true").status_code == 404
    few = requests.post(f"{address}/train/{MODEL}", json={"max_epochs": 1})
    assert few.status_code == 400
    assert "at least two" in few.json()["detail"]
    for name, phantom in phantoms.items():
        assert save(address, name, phantom)["class"] == phantom.label
    assert requests.post(f"{address}/activelearning/first", json={}).json() == {}
    options = {"max_epochs": 1, "batch_size": 2, "learning_rate": 1e-9}
    state = requests.post(f"{address}/train/{MODEL}", json=options).json()
    assert state["status"] == "RUNNING"
    assert requests.get(f"{address}/train/?check_if_running=true").status_code == 200
    assert requests.post(f"{address}/train/{MODEL}", json=options).status_code == 400
    state = wait_for_end(address)
    assert state["status"] == "DONE", (folder / "studies" / "labels" / ".training" / "000001" / "log.txt").read_text()
    split = json.loads((folder / "studies" / "labels" / "split.json").read_text())
    assert split == {"us_1": "training", "us_2": "validation", "us_3": "training"}
    compared = json.loads((folder / "studies" / "labels" / ".training" / "000001" / "comparison.json").read_text())
    # The one that validates shows no lesion.
    assert compared["filled_cases"] == 0
    assert state["says"].startswith("Not promoted")
    assert "at least 5 validation cases" in state["says"]
    assert services.models[MODEL].weights()[0] == services.trainable[MODEL].bundle.shipped_weights
    (before,) = requests.get(f"{address}/train/?all=true").json()
    assert before == state
    # What 3D Slicer shows when it stops a training.
    assert before["details"][-1] == state["says"]
    assert before["start_ts"] <= before["end_ts"]
    assert requests.post(f"{address}/infer/{MODEL}?image=us_1&output=json").status_code == 200


def test_a_training_is_stopped(server, phantoms):
    address, _, folder = server
    for name, phantom in phantoms.items():
        save(address, name, phantom)
    assert stats(address)[MODEL] == {"epoch": 0, "total_epochs": 1, "total_time": "0:00:00", "best_metric": 0.0}
    assert requests.post(f"{address}/train/", json={"max_epochs": 900}).json()["model"] == MODEL
    first, running = next(iter(stats(address).items()))
    # By a total time viewers know that nothing runs.
    assert (first, running["total_epochs"], "total_time" in running) == (MODEL, 900, False)
    stopped = requests.delete(f"{address}/train/").json()
    assert stopped["status"] == "STOPPED"
    assert stopped["details"][-1] == stopped["says"]
    job = sorted((folder / "studies" / "labels" / ".training").glob("[0-9]*"))[-1]
    pid = json.loads((job / "training.json").read_text())["pid"]
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and not gone(pid):
        time.sleep(0.1)
    assert gone(pid)


def stats(address):
    return requests.get(f"{address}/info/").json()["train_stats"]


def gone(pid):
    try:
        finished, _ = os.waitpid(pid, os.WNOHANG)
        return finished == pid
    except ChildProcessError:
        return True
