"""Every call of MONAI Label's reference client, in the order in which 3D Slicer's extension makes them, logged in."""

import hashlib
import json
import os
import time
from pathlib import Path
from urllib.parse import quote_plus, unquote_plus

import cv2
import nibabel
import nrrd
import numpy as np
import pytest
import requests
from tests.server.served_app import served

from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.labels.label_files import write_labels
from breastkit.server.monailabel_fixes import prepare
from breastkit.server.security.users import Users, set_user
from breastkit.server.studies.study_images import PICTURE_AFFINE

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402
from monailabel.client.client import MONAILabelClientException  # noqa: E402

MODEL = "breast_us_lesion_segmentation"
PASSWORD = "draws lesions"
_PATIENCE = 300


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slicer")
    for number in (1, 2):
        gray = cv2.resize(make_us_phantom(5, number).image, None, fx=0.3, fy=0.3)
        write_png(folder / "studies" / f"us_{number}.png", gray)
    set_user(str(folder / "users.json"), "anna", role="annotator", password=PASSWORD)
    return folder


@pytest.fixture(scope="module")
def server(place):
    conf = {"models": str(place / "models")}
    with served(place / "studies", users=Users(place / "users.json"), conf=conf) as (address, _):
        yield address


@pytest.fixture
def client(server, tmp_path):
    """A client that has just logged in.

    When it is logged in, the client sends the type of a message of parts along with all that follows, to which a new
    session then does not fit: sessions come first here, as with the extension.
    """
    # The extension names itself, and its name goes along with every request that has parameters.
    found = MONAILabelClient(server, tmpdir=str(tmp_path), client_id="user-slicer")
    assert found.auth_enabled()
    assert not found.auth_valid_token()
    found.update_auth(found.auth_token("anna", PASSWORD))
    assert found.auth_valid_token()
    return found


@pytest.fixture
def headers(client):
    return {"Authorization": client._headers["Authorization"]}


def test_a_wrong_password_is_said(server):
    with pytest.raises(MONAILabelClientException):
        MONAILabelClient(server).auth_token("anna", "guessed wrong")


def test_a_sample_is_fetched_outlined_and_saved(client, headers, server, place, tmp_path):
    info = client.info()
    assert info["models"][MODEL]["labels"] == {"lesion": 1}
    assert MODEL in info["trainers"]
    sample = client.next_sample("first", {})
    # The extension downloads without its token; all that it takes over from the answer is the name.
    answer = requests.get(f"{server}/datastore/image?image={quote_plus(sample['id'])}", timeout=60)
    assert sample["checksum"] == f"SHA256:{hashlib.sha256(answer.content).hexdigest()}"
    assert answer.content == (place / "studies" / sample["name"]).read_bytes()

    path, says = client.infer(MODEL, sample["id"], {"result_extension": ".nrrd"})
    labels, _ = nrrd.read(path)
    assert set(np.unique(labels)) == {0, 1}
    assert says["label_names"] == {"lesion": 1}
    assert says["label_colors"] == info["models"][MODEL]["label_colors"]

    labels[:10, :20] = 2
    named = {"label_info": [{"name": "lesion", "idx": 1}, {"name": "calcification", "idx": 2}]}
    for suffix in (".nrrd", ".nii.gz"):
        saved = write_labels(tmp_path / f"label{suffix}", labels, PICTURE_AFFINE)
        client.save_label(sample["id"], str(saved), "final", named)
        read_back = cv2.imread(client.download_label(sample["id"], "final"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(read_back.T, labels[:, :, 0])
    kept = requests.get(f"{server}/datastore/label/info?label=us_1", headers=headers, timeout=60).json()
    assert kept["labels"] == {"lesion": 1, "calcification": 2}
    assert kept["user"] == "anna"
    assert client.info()["datastore"]["completed"] == 1
    assert client.next_sample("first", {})["name"] == "us_2.png"


@pytest.mark.parametrize(
    ("params", "of_class"),
    [
        ({"label_info": [{"name": "lesion", "idx": 1}]}, "refused"),
        ({"label_info": [{"name": "lesion", "idx": 1}, {"name": "normal", "idx": 2}]}, "normal"),
        ({"label_info": [{"name": "malignant", "idx": 1}]}, "refused"),
        ({"class": "normal"}, "normal"),
        ({"nothing": True}, None),
    ],
)
def test_an_empty_label_is_saved_where_somebody_says_that_it_is_meant(client, place, tmp_path, params, of_class):
    shape = cv2.imread(str(place / "studies" / "us_1.png")).shape
    label = write_labels(tmp_path / "empty.nii.gz", np.zeros((shape[1], shape[0], 1), np.uint8), PICTURE_AFFINE)
    if of_class == "refused":
        with pytest.raises(MONAILabelClientException, match="the class normal, a segment of this name"):
            client.save_label("us_1", str(label), "final", params)
    else:
        client.save_label("us_1", str(label), "final", params)
        assert client.datastore()["objects"]["us_1"]["labels"]["final"]["info"]["class"] == of_class


def test_a_link_opens_one_download_for_a_while_and_nothing_else(client, server, place, monkeypatch):
    link = quote_plus(client.next_sample("first", {})["id"])
    assert client.next_sample("first", {})["id"] == unquote_plus(link)
    image = f"{server}/datastore/image?image={link}"
    assert requests.head(image, timeout=60).status_code == 200
    for other in (
        f"{server}/datastore/image?image={link.replace('us_2', 'us_1')}",
        f"{server}/datastore/image?image={link.replace('anna', 'root')}",
        f"{server}/datastore/image?image={link[:-1]}{'1' if link[-1] == '0' else '0'}",
        f"{server}/datastore/image/info?image={link}",
        f"{server}/datastore/label?label={link}",
    ):
        assert requests.get(other, timeout=60).status_code == 401, other
    with monkeypatch.context() as later:
        now = time.time()
        later.setattr(time, "time", lambda: now + 1201)
        assert requests.get(image, timeout=60).status_code == 401
    # A program that does not name itself, and asks with its token, gets the name alone.
    script = MONAILabelClient(server)
    script.update_auth(script.auth_token("anna", PASSWORD))
    assert script.next_sample("first", {})["id"] == "us_2"


@pytest.mark.parametrize("kind", ["gray", "16 bits", "colour"])
def test_a_picture_is_lent_as_nifti(client, place, tmp_path, kind):
    gray = cv2.imread(str(place / "studies" / "us_2.png"), 0)
    array, affine = gray.T[:, :, None], np.diag([-0.5, -0.5, 1, 1])
    if kind == "16 bits":
        array = array.astype(np.uint16) * 257
    if kind == "colour":
        array = np.repeat(array[:, :, :, None, None], 3, axis=4)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "node.nii.gz")
    lent = client.create_session(str(tmp_path / "node.nii.gz"))["session_id"]
    found = nibabel.load(client.infer(MODEL, "", {"result_extension": ".nii.gz"}, session_id=lent)[0])
    mask = np.asarray(found.dataobj)
    np.testing.assert_array_equal(found.affine, affine)
    of_store = nibabel.load(client.infer(MODEL, "us_2", {"result_extension": ".nii.gz"})[0])
    # Sixteen bits are spread over their own range, which is not all of the picture's.
    assert np.mean(mask != np.asarray(of_store.dataobj)) <= (0.01 if kind == "16 bits" else 0)


def test_an_image_is_called_as_3d_slicer_calls_it(client, place):
    for name in ("4: T1 post", "Грудь, слева"):
        client.upload_image(str(place / "studies" / "us_2.png"), name)
        assert name in client.datastore()["objects"]
        path, _ = client.infer(MODEL, name, {"result_extension": ".nrrd"})
        assert client.save_label(name, path, "final", {})["image"] == name
    for name in ("a_mask", ".hidden", "x" * 101, "a\nb"):
        with pytest.raises(MONAILabelClientException):
            client.upload_image(str(place / "studies" / "us_2.png"), name)


def test_an_image_of_the_users_own_is_lent_and_sent(client, place, tmp_path):
    picture = place / "studies" / "us_2.png"
    lent = client.create_session(str(picture))["session_id"]
    assert client.get_session(lent)
    path, _ = client.infer(MODEL, "", {"result_extension": ".nii.gz"}, session_id=lent)
    of_store, _ = client.infer(MODEL, "us_2", {"result_extension": ".nii.gz"})
    np.testing.assert_array_equal(nibabel.load(path).dataobj, nibabel.load(of_store).dataobj)
    client.remove_session(lent)
    with pytest.raises(MONAILabelClientException):
        client.get_session(lent)
    sent = tmp_path / "us_3.png"
    sent.write_bytes(picture.read_bytes())
    client.upload_image(str(sent), "us_3")
    assert "us_3" in client.datastore()["objects"]


def test_training_is_started_watched_and_stopped(client, place, tmp_path):
    labels = np.zeros((*cv2.imread(str(place / "studies" / "us_2.png"), 0).T.shape, 1), np.uint8)
    labels[20:60, 30:50] = 1
    for image in ("us_1", "us_2"):
        size = cv2.imread(str(place / "studies" / f"{image}.png"), 0).T.shape
        saved = write_labels(tmp_path / f"{image}.nii.gz", np.resize(labels, (*size, 1)), PICTURE_AFFINE)
        client.save_label(image, str(saved), "final", {"label_info": [{"name": "lesion", "idx": 1}]})
    assert not client.train_status(True)
    # As the extension sends it: the options of every trainer under its name.
    assert client.train_start(MODEL, {MODEL: {"max_epochs": 200, "batch_size": 1}})["status"] == "RUNNING"
    assert client.train_status(True)
    assert client.train_status()["status"] == "RUNNING"
    assert client.train_stop()["status"] == "STOPPED"
    (job,) = Path(place, "studies", "labels", ".training").glob("[0-9]*")
    process = json.loads((job / "training.json").read_text())["pid"]
    end = time.monotonic() + _PATIENCE
    while not _gone(process):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not client.train_status(True)


def _gone(process):
    try:
        return os.waitpid(process, os.WNOHANG)[0] == process
    except ChildProcessError:
        return True
