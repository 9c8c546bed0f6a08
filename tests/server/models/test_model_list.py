"""Which models there are: what bundles declare decides, and a further bundle needs no code."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from breastkit.bundle import Bundle, find_bundles
from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.pipelines import ULTRASOUND
from breastkit.promotion import promote
from breastkit.server.models.model_list import find_models, why_not_served
from breastkit.server.studies.sessions import image_of_file

NAME = "breast_us_cyst_segmentation"


@pytest.fixture
def seventh(tmp_path, monkeypatch):
    """A bundle of one's own: another one's configs and weights, with a label of its own."""
    folder = tmp_path / "bundles" / NAME
    shutil.copytree(Bundle(ULTRASOUND).used("segmenter").folder, folder, ignore=shutil.ignore_patterns("docs", "fold*"))
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    cyst = {"number": 3, "colour": [0, 90, 200], "type": ["441457006", "SCT", "Cyst"]}
    cyst["category"] = ["49755003", "SCT", "Morphologically Abnormal Structure"]
    metadata["supported_apps"]["breastkit"]["labels"] = {"cyst": cyst}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(folder.parent))
    return folder


def test_a_further_bundle_is_served_by_what_it_declares(seventh, tmp_path):
    models = find_models()
    model = models[NAME]
    assert (model.task, model.flat, model.labels, model.modality) == ("segmentation", True, {"cyst": 3}, "US")
    assert model.colours == {"cyst": [0, 90, 200]}
    assert (model.kinds["cyst"].label, model.kinds["cyst"].type.value) == ("cyst", "441457006")
    picture = write_png(tmp_path / "us.png", make_us_phantom(5, 1).image)
    image = image_of_file(picture)
    own = model.predict(image, lambda one: one.files[0]).labels
    assert set(np.unique(own)) == {0, 3}
    other = models[Bundle(ULTRASOUND).used("segmenter").name].predict(image, lambda one: one.files[0]).labels
    # The same weights, without the opinions of the folds.
    both, either = np.count_nonzero((own > 0) & (other > 0)), np.count_nonzero((own > 0) | (other > 0))
    assert both > 0.5 * either


def test_a_bundle_that_does_not_say_what_it_is_for_is_not_served_and_stops_no_other(seventh, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("breastkit"), "propagate", True)
    metadata = json.loads((seventh / "configs" / "metadata.json").read_text())
    del metadata["supported_apps"]["breastkit"]["role"]
    (seventh / "configs" / "metadata.json").write_text(json.dumps(metadata))
    models = find_models()
    assert NAME not in models
    assert {bundle.name for bundle in find_bundles()} <= set(models)
    assert f"{NAME} is left out: " in caplog.text


def test_promoted_weights_are_served(tmp_path):
    bundles = find_bundles(models=tmp_path)
    before = find_models(models=tmp_path)
    for bundle in bundles:
        promote(bundle, bundle.folder / "models", figures={})
    # A model that is listed already turns to them too.
    for models in (before, find_models(models=tmp_path)):
        for bundle in bundles:
            assert tmp_path / bundle.name / "000001" / "model.pt" in models[bundle.name].weights()


def test_why_there_is_no_such_model(tmp_path):
    assert why_not_served("nothing") == "There is no such model; /info/ lists them."
    bundle = Bundle(ULTRASOUND)
    missing = next(name for name in bundle.architectures if name != bundle.default_architecture)
    assert "has no weights" in why_not_served(f"{bundle.name}_{missing}")
    assert Path(bundle.folder).name in why_not_served(f"{bundle.name}_{bundle.default_architecture}")
