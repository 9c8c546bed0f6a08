import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from breastkit.bundle import Bundle, Reads, Role, bundle_folder, bundle_for, find_bundles, is_yes, weights_in_use
from breastkit.errors import BreastkitError

LESION = {
    "role": "segmentation",
    "reads": "picture",
    "answers": "mask",
    "organ": "breast",
    "labels": {"lesion": {"number": 1, "colour": [1, 2, 3]}},
}


def write_bundle(place, declared, name="my_bundle"):
    """Writes a bundle that is nothing but what it declares, and weights that nobody opens."""
    folder = place / name
    (folder / "configs").mkdir(parents=True)
    metadata = {"supported_apps": {"breastkit": declared}}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    for where in ("", "small", "fold0", "fold1"):
        (folder / "models" / where).mkdir(parents=True, exist_ok=True)
        (folder / "models" / where / "model.pt").write_bytes(b"weights")
        (folder / "models" / where / "model.json").write_text(json.dumps({"architecture": where or "large"}))
    return folder


@pytest.mark.parametrize("value", ["false", "No", False, "0", None])
def test_no(value):
    assert not is_yes(value)


@pytest.mark.parametrize("value", ["true", "True", True, "1", "yes"])
def test_yes(value):
    assert is_yes(value)


def test_a_bundle_lies_beside_the_sources_or_is_the_working_folder(tmp_path, monkeypatch):
    name = "breast_us_lesion_segmentation"
    assert (Path(bundle_folder(name)) / "configs" / "metadata.json").is_file()
    copy = tmp_path / name
    (copy / "configs").mkdir(parents=True)
    (copy / "configs" / "metadata.json").write_text("{}")
    monkeypatch.chdir(copy)
    assert bundle_folder(name) == str(copy)


def test_asking_for_facts_of_a_bundle_does_not_wait_for_torch():
    words = (
        "from breastkit.models.listing import list_models; list_models(); import sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


def test_what_it_is_for_stands_in_its_metadata(tmp_path):
    purpose = Bundle(write_bundle(tmp_path, LESION | {"data_sets": ["mine"]})).purpose
    assert (purpose.role, purpose.reads, purpose.data_sets, purpose.uses) == (
        Role.SEGMENTATION,
        Reads.PICTURE,
        ("mine",),
        {},
    )
    assert (purpose.labels["lesion"].number, purpose.labels["lesion"].colour) == (1, (1, 2, 3))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (None, "does not declare what the bundle is for"),
        (LESION | {"role": "nonsense"}, "'nonsense' is not a valid Role"),
        (LESION | {"reads": "study"}, "segmentation reads picture or volume"),
        (LESION | {"answers": "boxes"}, "answers mask"),
        (LESION | {"labels": {}}, "has labels"),
        (LESION | {"lables": {}}, "lables"),
        (LESION | {"labels": {"lesion": {"colour": [1, 2, 3]}}}, "number"),
        (LESION | {"role": "region_segmentation", "reads": "study"}, "uses ['detector']"),
    ],
)
def test_a_wrong_declaration_is_one_sentence_that_names_the_file(tmp_path, declared, words):
    folder = write_bundle(tmp_path, declared)
    with pytest.raises(BreastkitError) as raised:
        _ = Bundle(folder).purpose
    sentence = str(raised.value)
    assert words in sentence
    assert str(folder / "configs" / "metadata.json") in sentence


def test_a_name_without_bundle_is_a_sentence():
    with pytest.raises(BreastkitError, match=r"no_such_bundle.*does not exist"):
        _ = Bundle("no_such_bundle").metadata


def test_which_weights_it_ships(tmp_path):
    bundle = Bundle(write_bundle(tmp_path, LESION), models=tmp_path / "promoted")
    models = bundle.folder / "models"
    assert (bundle.default_architecture, bundle.weights_in_use) == ("large", models / "model.pt")
    assert bundle.further_weights == {"small": models / "small" / "model.pt"}
    assert bundle.fold_weights == [models / "fold0" / "model.pt", models / "fold1" / "model.pt"]
    assert bundle.weights_of("large") == bundle.shipped_weights
    assert bundle.weights_of("small") == models / "small" / "model.pt"
    with pytest.raises(BreastkitError, match="no weights of 'huge'"):
        bundle.weights_of("huge")


def test_bundles_of_ones_own_are_found_beside_those_of_the_checkout(tmp_path, monkeypatch):
    before = [bundle.name for bundle in find_bundles()]
    assert Bundle("breast_us_lesion_classification").used("segmenter").name in before
    own = write_bundle(tmp_path, LESION)
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(tmp_path))
    assert [bundle.name for bundle in find_bundles()] == sorted([*before, own.name])
    assert (Bundle(own.name).folder, bundle_folder(before[0])) == (own, str(Bundle(before[0]).folder))
    # One's own takes the place of the checkout's of the same name.
    copy = write_bundle(tmp_path, LESION, before[0])
    assert [bundle.folder for bundle in find_bundles() if bundle.name == before[0]] == [copy]
    assert [bundle.name for bundle in find_bundles(tmp_path)] == sorted([own.name, before[0]])


def test_a_bundle_that_does_not_say_what_it_is_for_stops_no_other(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("breastkit"), "propagate", True)
    own = write_bundle(tmp_path, LESION)
    write_bundle(tmp_path, None, "undeclared")
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(tmp_path))
    assert [bundle.folder for bundle in find_bundles(tmp_path)] == [own]
    assert bundle_for(Role.DETECTION).name == "breast_mri_lesion_detection"
    assert "undeclared is left out: " in caplog.text


def test_what_a_bundle_uses_lies_beside_it_or_among_the_others(tmp_path):
    declared = LESION | {"role": "classification", "answers": "class", "uses": {"segmenter": "outlines"}}
    classifier = Bundle(write_bundle(tmp_path, declared), models=tmp_path / "promoted")
    outlines = write_bundle(tmp_path, LESION, "outlines")
    assert (classifier.used("segmenter").folder, classifier.used("segmenter").models) == (outlines, classifier.models)


def test_where_several_have_a_role_one_is_to_be_named(tmp_path, monkeypatch):
    assert bundle_for(Role.DETECTION).purpose.reads is Reads.STUDY
    declared = LESION | {"role": "detection", "reads": "study", "answers": "boxes"}
    write_bundle(tmp_path, declared, "another")
    monkeypatch.setenv("BREASTKIT_BUNDLES", str(tmp_path))
    with pytest.raises(BreastkitError, match=r"another, .*name one with --bundle"):
        bundle_for(Role.DETECTION)


def test_promoted_weights_are_those_of_the_bundle_whatever_its_folder_is_called_by(tmp_path, monkeypatch):
    folder = write_bundle(tmp_path, LESION)
    version = tmp_path / "promoted" / folder.name / "000001"
    version.mkdir(parents=True)
    (version / "promotion.json").write_text("{}")
    (version / "model.pt").touch()
    (version.parent / "current.json").write_text('{"version": 1}')
    assert weights_in_use(folder) == str(folder / "models" / "model.pt")
    monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path / "promoted"))
    monkeypatch.chdir(folder)
    assert weights_in_use(".") == weights_in_use(folder) == str(version / "model.pt")


def test_a_bundle_that_does_not_run_ends_in_its_sentence(tmp_path):
    """MONAI wraps what a config raises; here its first cause is said."""
    bundle = Bundle("breast_mri_tissue_segmentation")
    (tmp_path / "inputs").mkdir()
    with pytest.raises(BreastkitError) as error:
        bundle.run("inference.json", dataset_dir=str(tmp_path / "inputs"), output_dir=str(tmp_path / "out"))
    assert str(error.value).startswith(f"{bundle.name} did not run: {tmp_path / 'inputs'} ")
    assert not (tmp_path / "out").exists()
