"""The app behind MONAI Label's own interface, as its command line and whoever has it in hand ask it."""

from pathlib import Path

import cv2
import nrrd
import pytest

from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.places import app_folder
from breastkit.server.information import information_of
from breastkit.server.monailabel_fixes import prepare
from breastkit.server.services import Services

prepare()
from monailabel.interfaces.exception import MONAILabelException  # noqa: E402
from monailabel.interfaces.utils.app import app_instance  # noqa: E402

MODEL = "breast_us_lesion_segmentation"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    place = tmp_path_factory.mktemp("app")
    for case in (1, 2):
        write_png(place / "studies" / f"us_{case}.png", make_us_phantom(5, case).image)
    conf = {"labels": str(place / "labels"), "models": str(place / "models"), "mlflow": "http://127.0.0.1:9/"}
    return app_instance(app_dir=str(app_folder()), studies=str(place / "studies"), conf=conf)


def test_it_holds_the_services_that_the_server_is_built_of(app):
    assert isinstance(app.services, Services)
    assert app.services.companions == {"mlflow": "http://127.0.0.1:9/"}
    assert app.info() == information_of(app.services)
    assert next(iter(app.info()["strategies"])) == "mix"
    assert app.info()["trainers"][MODEL]["config"]["max_epochs"] == 20


def test_a_model_writes_its_outline(app):
    answer = app.infer({"model": MODEL, "image": "us_1"})
    labels, _ = nrrd.read(answer["file"])
    Path(answer["file"]).unlink()
    assert labels.any()
    assert answer["params"]["label_names"] == {"lesion": 1}


def test_the_next_image_is_one_without_a_label(app, tmp_path):
    assert app.next_sample({"strategy": "first"}) == {
        "id": "us_1",
        "path": str(app.services.store.images.folder / "us_1.png"),
    }
    drawn = {app.next_sample({"strategy": "random", "seed": 3})["id"] for _ in range(3)}
    assert len(drawn) == 1
    for case in (1, 2):
        mask, drawn = tmp_path / f"mask_{case}.png", make_us_phantom(5, case).mask
        cv2.imwrite(str(mask), drawn)
        said = {"nothing": not drawn.any()}
        assert app.datastore().save_label(f"us_{case}", str(mask), "final", said) == f"us_{case}"
    assert app.datastore().get_unlabeled_images() == []
    assert app.next_sample({"strategy": "first"}) == {}


def test_what_is_measured_is_what_the_server_tells(app):
    found = app.scoring({"method": "dice"})
    assert found["pictures"]["images"] == 2
    assert app.info()["scoring"]["dice"] == {"description": app.info()["scoring"]["dice"]["description"], **found}


def test_training_runs_in_no_server_of_its_own(app):
    with pytest.raises(MONAILabelException):
        app.train({"model": MODEL})


def test_the_datastore_tells_of_labels_and_removes_no_image(app):
    store = app.datastore()
    assert store.status() == {"total": 2, "completed": 2, "label_tags": {"final": 2}}
    assert {one["image"].rpartition("/")[2] for one in store.datalist()} == {"us_1.png", "us_2.png"}
    assert store.get_labels_by_image_id("us_1") == {"final": "us_1"}
    assert Path(store.get_label_uri("us_1", "final")).is_file()
    assert store.get_label_info("us_1", "final")["image"] == "us_1"
    store.remove_label("us_1", "final")
    assert store.get_labeled_images() == ["us_2"]
    app.services.store.labels.restore("us_1", "final")
    for refused in (lambda: store.remove_image("us_1"), lambda: store.set_name("x")):
        with pytest.raises(BreastkitError):
            refused()
    assert store.list_images() == ["us_1", "us_2"]
