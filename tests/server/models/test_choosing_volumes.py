"""Which volume comes next, and how good the model of volumes is: asked of a real server as viewers ask."""

import shutil
import time

import pytest
import requests
from tests.dicomweb.store_process import store_process
from tests.server.served_app import served
from tests.server.viewed_studies import TISSUE, write_picture

from breastkit.dicom import list_series
from breastkit.phantoms.mri import write_mri_phantoms
from breastkit.server.monailabel_fixes import prepare

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402

PATIENCE = 300
PHASES = ("case_001/pre", "case_001/post_1", "case_002/pre")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two phases of one patient, one of another, and an ultrasound picture."""
    made, place = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("studies")
    write_mri_phantoms(str(made), cases=2, seed=4, size=64, dicom=True, workers=1)
    for phase in PHASES:
        shutil.copytree(made / phase, place / phase)
    write_picture(place / "us.dcm")
    return place


@pytest.fixture(scope="module")
def series(studies):
    """Returns the identifiers of the phases."""
    return {phase: list_series(studies / phase)[0].uid for phase in PHASES}


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory):
    with served(studies, conf={"labels": str(tmp_path_factory.mktemp("labels"))}) as (address, services):
        yield address, services


@pytest.fixture
def client(server, tmp_path):
    return MONAILabelClient(server[0], tmpdir=str(tmp_path))


def until(happened):
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def measured(address, client):
    assert requests.post(f"{address}/scoring/dice", json={}).status_code == 200
    until(lambda: requests.get(f"{address}/scoring/").json()["status"] != "RUNNING")
    assert requests.get(f"{address}/scoring/").json()["status"] == "DONE"
    return client.info()["scoring"]["dice"]["volumes"]


def test_volumes_are_scored_in_the_background_and_chosen_by_it_once_all_pictures_have_labels(client, server, series):
    services = server[1]
    pictures, volumes = services.scores
    first = client.next_sample("mix", {})["id"]
    until(lambda: not pictures.waiting() and not volumes.waiting())
    known = volumes.known()
    assert set(known) == set(series.values())
    assert all(0 < one.uncertainty < 1 and len(one.features) == 128 for one in known.values())
    # Only what an annotator was given is kept as a file beside the series.
    assert {path.name for path in services.store.folder.glob(".cache/*.nii.gz")} == {f"{first}.nii.gz"}
    (picture,) = pictures.known()
    assert client.next_sample("uncertainty", {})["id"] == picture
    path, _ = client.infer("breast_us_lesion_segmentation", picture, {})
    client.save_label(picture, path, "final", {"label_info": [{"name": "lesion", "idx": 1}]})
    assert client.next_sample("uncertainty", {})["id"] == max(known, key=lambda name: known[name].uncertainty)


def test_another_phase_of_a_labelled_study_comes_last(client, series):
    image = series["case_001/pre"]
    path, _ = client.infer(TISSUE, image, {})
    client.save_label(image, path, "final", {"label_info": [{"name": "breast", "idx": 1}]})
    for strategy in ("mix", "diversity", "uncertainty"):
        assert client.next_sample(strategy, {})["id"] == series["case_002/pre"]


def test_dice_of_volumes_is_that_of_the_segments_the_model_knows(client, server, series):
    assert measured(server[0], client) == {"dice": 1.0, "images": 1}
    path, _ = client.infer(TISSUE, series["case_002/pre"], {})
    # The same voxels called a lesion say nothing of the breasts.
    client.save_label(series["case_002/pre"], path, "final", {"label_info": [{"name": "lesion", "idx": 1}]})
    assert measured(server[0], client) == {"dice": 1.0, "images": 1}
    assert "Dice of the model against labels of volumes" in requests.get(f"{server[0]}/").text


def test_images_of_another_server_are_scored_too(studies, series, tmp_path):
    with (
        store_process(studies, tmp_path / "stored") as pacs,
        served(pacs, conf={"labels": str(tmp_path / "labels")}) as (address, services),
    ):
        MONAILabelClient(address, tmpdir=str(tmp_path)).next_sample("mix", {})
        until(lambda: not any(scores.waiting() for scores in services.scores))
        pictures, volumes = services.scores
        assert len(pictures.known()) == 1
        assert set(volumes.known()) == set(series.values())
