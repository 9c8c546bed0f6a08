"""Which model a training is of that names none: 3D Slicer names one, OHIF sends the options of all."""

import io
import json

import cv2
import numpy as np
import pytest
import requests
from tests.bundles.tiny import AFFINE, breast_scan
from tests.server.served_app import served

from breastkit.images import write_nifti, write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.labels.label_uses import use_of
from breastkit.server.models.label_training import model_of_labels

TISSUE, LESION = "breast_mri_tissue_segmentation", "breast_us_lesion_segmentation"
CLASSIFIER = "breast_us_lesion_classification"
SIZE = (120, 150)


@pytest.fixture
def server(tmp_path):
    """Two volumes and two pictures without a label."""
    for number in (1, 2):
        write_png(tmp_path / "studies" / f"us{number}.png", make_us_phantom(5, number, size=SIZE).image)
        write_nifti(tmp_path / "studies" / f"breast{number}.nii.gz", breast_scan(number)[0], AFFINE)
    with served(tmp_path / "studies", conf={"models": str(tmp_path / "models")}) as (address, services):
        yield address, services
        services.training.stop()


def label_breasts(services):
    for number in (1, 2):
        grid = services.store.images.grid_of(services.store.image(f"breast{number}"))
        services.store.labels.save(f"breast{number}", breast_scan(number)[1], grid, names={"breast": 1})


def save_picture(address, image, mask, **params):
    sent = {"label": ("label.png", io.BytesIO(cv2.imencode(".png", mask)[1].tobytes()))}
    params["nothing"] = not mask.any()
    answer = requests.put(f"{address}/datastore/label?image={image}", files=sent, data={"params": json.dumps(params)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_model_follows_the_labels_or_the_body_or_is_asked_for(server):
    address, services = server
    nothing = requests.post(f"{address}/train/", json={})
    assert nothing.status_code == 400
    assert f"name one of {LESION}" in nothing.json()["detail"]

    label_breasts(services)
    # As OHIF's *Update Model* sends it.
    of_all = {name: {"max_epochs": 1} for name in services.trainable}
    assert requests.post(f"{address}/train/", json=of_all).json()["model"] == TISSUE
    requests.delete(f"{address}/train/")

    named = requests.post(f"{address}/train/", json={"model": LESION, "max_epochs": 1})
    assert (named.status_code, "pictures of different patients" in named.json()["detail"]) == (400, True)
    assert requests.post(f"{address}/train/", json={"model": "no such"}).status_code == 404
    only = requests.post(f"{address}/train/", json={LESION: {"max_epochs": 1}})
    assert "No label says which model" in only.json()["detail"]

    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 30:60] = 255
    for image in ("us1", "us2"):
        save_picture(address, image, mask, **{"class": "benign"})
    # Of two that learn from the same labels the one that outlines.
    of_pictures = {name: services.trainable[name] for name in (CLASSIFIER, LESION)}
    assert model_of_labels(services.store, of_pictures) == LESION


def test_the_class_is_what_is_drawn_or_said_never_what_is_listed(server):
    address, services = server
    # 3D Slicer sends an empty segment for every label that /info/ names.
    listed = [{"name": name, "idx": number} for number, name in enumerate(("lesion", "benign", "malignant"), start=1)]
    nothing, drawn = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    drawn[20:40, 30:60] = 2
    assert save_picture(address, "us1", nothing, label_info=listed)["class"] is None
    use = use_of(services.trainable[CLASSIFIER].bundle)
    assert not use.takes(services.store.image("us1"), services.store.label("us1", "final"))
    # A segment of this name somebody made: the server lists none.
    assert not any("normal" in model["labels"] for model in requests.get(f"{address}/info/").json()["models"].values())
    assert save_picture(address, "us1", nothing, label_info=[{"name": "normal", "idx": 1}])["class"] == "normal"
    assert save_picture(address, "us1", nothing, **{"label_info": listed, "class": "benign"})["class"] == "benign"
    assert save_picture(address, "us2", drawn, label_info=listed)["class"] == "benign"

    def describe(**info):
        return requests.put(f"{address}/datastore/label/info?label=us2&tag=final", data={"info": json.dumps(info)})

    said = describe(labels={"malignant": 2}).json()
    assert (said["class"], said["labels"], said["params"]) == (
        "malignant",
        {"malignant": 2},
        {"label_names": {"malignant": 2}},
    )
    assert describe(labels={"lesion": 2}).json()["class"] == "malignant"
    assert describe(**{"class": None}).json()["class"] is None
    assert requests.get(f"{address}/datastore/label/info?label=us2").json()["labels"] == {"lesion": 2}
    for wrong in ({"class": "odd"}, {"labels": {"lesion": 0}}, {"user": "root"}, {}):
        assert describe(**wrong).status_code == 400


def test_models_of_what_comes_next_are_offered_first(server):
    address, _ = server
    assert next(iter(requests.get(f"{address}/info/").json()["models"])).startswith("breast_us")
    for image in ("us1", "us2"):
        save_picture(address, image, np.zeros(SIZE, np.uint8))
    # 3D Slicer runs the first one unasked on the next sample, a volume now.
    assert next(iter(requests.get(f"{address}/info/").json()["models"])) == TISSUE
