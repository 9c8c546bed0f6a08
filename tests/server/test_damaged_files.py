"""One damaged record is one damaged record: set aside, named, and everything else goes on with the version before."""

import json
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import requests
from tests.server.served_app import served

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.promotion import promote
from breastkit.records import write_record
from breastkit.server.labels.folder_lock import FolderLock
from breastkit.server.models.label_training import keep_split
from breastkit.server.models.model_list import find_models
from breastkit.server.security.audit import AuditLog
from breastkit.server.studies.study_images import PICTURE_AFFINE, Grid

MODEL = "breast_us_lesion_segmentation"
SHAPE = (40, 60)
DAMAGES = {
    "garbage": lambda path: path.write_bytes(b"\xff\x00{not json"),
    "a list": lambda path: path.write_text("[]"),
    "an empty object": lambda path: path.write_text("{}"),
    "a number": lambda path: path.write_text("1e999"),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "inside").write_text("x")),
}
damages = pytest.mark.parametrize("damage", DAMAGES)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        write_png(folder / "studies" / f"{name}.png", rng.integers(0, 255, SHAPE, dtype=np.uint8))
    conf = {"labels": str(folder / "labels"), "models": str(folder / "models")}
    with served(folder / "studies", conf=conf) as (address, services):
        yield address, services, folder / "labels"


@pytest.fixture
def labels(server):
    """An image with two versions of its label, and nothing else."""
    _, services, folder = server
    for place in ("final", "original", ".training"):
        shutil.rmtree(folder / place, ignore_errors=True)
    for path in (*folder.glob("split.json*"), *(folder / ".cache").glob("measured.json*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / ".training").mkdir()
    for value in (1, 2):
        mask = np.zeros((*SHAPE[::-1], 1), np.uint8)
        mask[5:9, 5:9] = value
        grid = Grid(mask.shape, PICTURE_AFFINE)
        services.store.labels.save("one", mask, grid, names={"lesion": value}, of_class="benign", flat=True)
    return folder


def all_answers(address):
    """Asks for everything that reads records, and returns the start page."""
    for path in ("/info/", "/datastore/", "/datastore/?output=all", "/datastore/label/info?label=one"):
        answer = requests.get(f"{address}{path}")
        assert answer.status_code == 200, (path, answer.text)
    assert requests.get(f"{address}/train/").status_code in (200, 404)
    chosen = requests.post(f"{address}/activelearning/first")
    assert (chosen.status_code, chosen.json()["id"]) == (200, "two")
    page = requests.get(f"{address}/")
    assert page.status_code == 200
    return page.text


@damages
def test_the_version_before_a_damaged_one_counts(server, labels, damage, caplog):
    address, services, _ = server
    path = labels / "final" / "one" / "000002.json"
    DAMAGES[damage](path)
    page = all_answers(address)
    assert services.store.labels.current("one").version == 1
    assert "final/one/000002.json.damaged" in page
    assert "one/000002.json is set aside" in caplog.text
    assert path.with_name("000002.json.damaged").exists() and path.with_name("000002.png").is_file()
    # Nothing of what was set aside is written over.
    mask = np.zeros((*SHAPE[::-1], 1), np.uint8)
    assert services.store.labels.save("one", mask, Grid(mask.shape, PICTURE_AFFINE), flat=True).version == 3


def test_a_label_without_its_map_is_none(server, labels):
    address = server[0]
    (labels / "final" / "one" / "000002.png").unlink()
    assert "final/one/000002.json.damaged" in all_answers(address)
    assert requests.get(f"{address}/datastore/label?label=one").status_code == 200


def test_a_label_of_which_nothing_is_whole_is_no_label(server, labels):
    address, services, _ = server
    for path in (labels / "final" / "one").glob("*.json"):
        path.write_text("[]")
    assert requests.get(f"{address}/").status_code == 200
    assert services.store.unlabelled() == ["one", "two"]
    assert requests.get(f"{address}/datastore/label?label=one").status_code == 400


def training_in(folder, number, **records):
    """Writes what a training that has ended leaves behind, some of it otherwise."""
    job = folder / ".training" / f"{number:06d}"
    job.mkdir()
    left = {
        "training": {"pid": 1, "started": "another", "model": MODEL},
        "job": {"bundle": MODEL, "models": "nowhere", "options": {"max_epochs": 4}, "training": "0"},
        "result": {"status": "DONE", "says": f"Training {number} has ended."},
    }
    for name, content in (left | records).items():
        (job / f"{name}.json").write_text(json.dumps(content))
    return job


@damages
@pytest.mark.parametrize("name", ["training", "job", "result"])
def test_a_damaged_record_of_a_training(server, labels, name, damage):
    address = server[0]
    training_in(labels, 1)
    job = training_in(labels, 2)
    DAMAGES[damage](job / f"{name}.json")
    page = all_answers(address)
    assert f".training/000002/{name}.json.damaged" in page
    state = requests.get(f"{address}/train/").json()
    # Without its process it is no training: what is told is of the one before.
    assert state["id"] == ("000001" if name == "training" else "000002")
    assert state["status"] == ("STOPPED" if name == "result" else "DONE")
    assert requests.delete(f"{address}/train/").status_code == 200


def test_other_names_among_the_trainings(server, labels):
    training_in(labels, 1)
    (labels / ".training" / "3 old ones").mkdir()
    all_answers(server[0])
    assert requests.post(f"{server[0]}/train/{MODEL}", json={}).status_code == 400


@damages
def test_a_damaged_record_of_what_was_measured(server, labels, damage):
    address = server[0]
    path = labels / ".cache" / "measured.json"
    for value in (0.5, 0.25):
        found = {"pictures": {"dice": value, "images": 1}, "computed": "2026-01-01T00:00:00+00:00"}
        write_record(path, {"dice": {"found": found, "weights": {}, "cases": {}}})
    assert "0.250 over 1 pictures" in all_answers(address)
    DAMAGES[damage](path)
    page = all_answers(address)
    assert ".cache/measured.json.damaged" in page and "0.500 over 1 pictures" in page


def test_damaged_scores_are_computed_again(server, labels):
    address, services, _ = server
    path = services.scores[0].path
    path.write_bytes(b"no database" * 1000)
    assert services.scores[0].known() == {}
    assert ".cache/scores.sqlite.damaged" in all_answers(address)


@damages
def test_a_damaged_split(server, labels, damage):
    _, services, _ = server
    path = labels / "split.json"
    path.write_text(json.dumps({"zero": "validation"}))
    split, _ = keep_split(services.store)
    assert split == {"zero": "validation", "one": "training"}
    DAMAGES[damage](path)
    # Who validated does so on.
    assert keep_split(services.store)[0]["zero"] == "validation"


@damages
def test_a_damaged_note_of_the_version_in_use_does_not_stop_the_start(tmp_path, damage):
    bundle = Bundle(MODEL, models=tmp_path)
    candidate = Bundle(MODEL).shipped_weights.parent
    assert [promote(bundle, candidate, figures={}) for _ in range(2)] == [1, 2]
    DAMAGES[damage](bundle.promoted / "current.json")
    models = find_models(models=tmp_path)
    assert models[MODEL].bundle.version_in_use == 1
    assert (bundle.promoted / "current.json.damaged").exists()
    # It stays so, and nothing is promoted over what is there.
    assert Bundle(MODEL, models=tmp_path).version_in_use == 1
    assert promote(bundle, candidate, figures={}) == 3


@contextmanager
def as_nobody():
    """Acts as a user who may write nowhere, which root may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("opened", [FolderLock, AuditLog])
def test_a_folder_of_labels_that_cannot_be_written_is_refused_with_a_sentence(tmp_path, opened):
    for place in (tmp_path, *list(tmp_path.parents)[:3]):
        place.chmod(0o555 if place == tmp_path else 0o755)
    try:
        with as_nobody(), pytest.raises(BreastkitError, match="writ"):
            opened(tmp_path)
    finally:
        tmp_path.chmod(0o755)
