"""Files that cannot be used, and names that cannot stand in an address: one of them never stops what others do."""

import gzip
import io
import json
import os

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
import requests
from tests.dicom.scans import write_scan
from tests.server.hostile_inputs import AFFINE, MODEL, SHAPE, VOLUME
from tests.server.served_app import served

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_nifti, write_png

TISSUE = "breast_mri_tissue_segmentation"
PICTURE = np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8)
SCAN = np.random.default_rng(0).integers(0, 900, VOLUME).astype(np.float32)
REFUSED = {
    "4D": np.stack([SCAN, SCAN], axis=-1),
    "2D": SCAN[:, :, 0],
    "one slice": SCAN[:, :, :1],
    "constant": np.ones(VOLUME, np.float32),
    "NaN": np.where(SCAN > 800, np.nan, SCAN),
    "RGB": np.zeros(VOLUME, [("R", "u1"), ("G", "u1"), ("B", "u1")]),
    "complex": SCAN.astype(np.complex64),
}
NAMES = {
    "not UTF-8": b"caf\xe9.png",
    "a backslash": b"a\\b.png",
    "a newline": b"a\nb.png",
    "fifty Cyrillic letters": ("ж" * 50 + ".png").encode(),
    "as long as a name may be": b"n" * 251 + b".png",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server over files, of which the first of the list have odd names, and its folders."""
    folder = tmp_path_factory.mktemp("hostile")
    studies = folder / "studies"
    for name, array in REFUSED.items():
        studies.mkdir(exist_ok=True)
        image = nibabel.Nifti1Image(array, AFFINE)
        (studies / f"volume {name}.nii.gz").write_bytes(gzip.compress(image.to_bytes(), 1))
    write_nifti(studies / "volume whole.nii.gz", SCAN, AFFINE)
    for name in NAMES.values():
        (studies / os.fsdecode(name)).write_bytes(cv2.imencode(".png", PICTURE)[1].tobytes())
    # Both are called alike, so that their folders' names stand before theirs.
    for place in ("p" * 200, "q" * 200):
        write_png(studies / place / f"{'n' * 100}.png", PICTURE)
    with served(studies, conf={"labels": str(folder / "labels")}) as (address, services):
        yield address, services, folder


def test_every_listed_name_can_be_asked_for_and_saved(server):
    address = server[0]
    listed = requests.get(f"{address}/datastore/?output=all").json()["objects"]
    pictures = [name for name, one in listed.items() if one["image"]["info"]["name"].endswith(".png")]
    assert len(pictures) == len(NAMES) + 2 and len(set(pictures)) == len(pictures)
    assert requests.get(f"{address}/").status_code == 200
    label = cv2.imencode(".png", np.eye(*SHAPE, dtype=np.uint8))[1].tobytes()
    for name in pictures:
        assert requests.get(f"{address}/datastore/image", params={"image": name}).content.startswith(b"\x89PNG")
        saved = requests.put(
            f"{address}/datastore/label", params={"image": name}, files={"label": ("label.png", io.BytesIO(label))}
        )
        assert saved.status_code == 200, (name, saved.text)
        assert requests.get(f"{address}/datastore/label", params={"label": name}).status_code == 200
    done = requests.get(f"{address}/datastore/?output=all").json()["objects"]
    assert [name for name in pictures if "final" not in done[name]["labels"]] == []


@pytest.mark.parametrize("name", REFUSED)
def test_volumes_that_no_model_reads_are_refused_with_the_sentence_that_says_why(server, name):
    address, _, folder = server
    answer = requests.post(f"{address}/infer/{TISSUE}?output=json", params={"image": f"volume {name}"})
    assert answer.status_code == 400, answer.text
    sentence = answer.json()["detail"]
    assert sentence.startswith(f"volume {name}.nii.gz ") and ";" in sentence
    assert str(folder) not in sentence


@pytest.mark.parametrize("name", ["\ud800", "x\udfffy"])
def test_half_a_character_in_a_name_is_refused(server, name):
    params = json.dumps({"label_info": [{"name": name, "idx": 1}]})
    content = nibabel.Nifti1Image(np.ones(VOLUME, np.uint8), AFFINE).to_bytes()
    answer = requests.put(
        f"{server[0]}/datastore/label?image=volume whole",
        files={"label": ("label.nii", io.BytesIO(content))},
        data={"params": params},
    )
    assert answer.status_code == 400 and "half a character" in answer.json()["detail"]


def put(dataset, name, value):
    """Writes a value as it stands, which pydicom would refuse."""
    tag = pydicom.tag.Tag(name)
    kind = pydicom.datadict.dictionary_VR(name)
    dataset._dict[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(value), value, 0, False, True)


DAMAGES = {
    "truncated": lambda one: None,
    "NumberOfFrames of -1": lambda one: put(one, "NumberOfFrames", b"-1"),
    "NumberOfFrames that is no number": lambda one: put(one, "NumberOfFrames", b"two "),
    "PALETTE COLOR without its table": lambda one: setattr(one, "PhotometricInterpretation", "PALETTE COLOR"),
    "a character set that is none": lambda one: put(one, "SpecificCharacterSet", b"nonsense\\ISO_IR 999 "),
}


@pytest.fixture(scope="module")
def dicom_server(tmp_path_factory):
    """A server over DICOM whose first images, by patient, are damaged."""
    folder = tmp_path_factory.mktemp("hostile_dicom")
    for number, (name, damage) in enumerate(DAMAGES.items()):
        path = folder / "studies" / f"{number}.dcm"
        write_us_dicom(path, PICTURE, spacing=0.1, patient=f"A{number}", uid_seed=name)
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription = name
        damage(dataset)
        dataset.save_as(path)
        if name == "truncated":
            path.write_bytes(path.read_bytes()[:-100])
    write_us_dicom(folder / "studies" / "whole.dcm", PICTURE, spacing=0.1, patient="B", uid_seed="whole")
    write_scan(folder / "studies" / "mr", AFFINE, shape=VOLUME)
    with served(folder / "studies", conf={"labels": str(folder / "labels")}) as (address, _):
        yield address, folder


def test_a_damaged_image_is_passed_over_when_the_next_one_is_chosen(dicom_server):
    address = dicom_server[0]
    for strategy in ("first", "random", "mix"):
        answer = requests.post(f"{address}/activelearning/{strategy}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["PatientID"] not in {f"A{number}" for number in (0, 1, 2, 3)}
    assert requests.get(f"{address}/").status_code == 200


def test_damaged_images_are_answered_with_a_sentence(dicom_server):
    address, folder = dicom_server
    listed = requests.get(f"{address}/datastore/?output=all").json()["objects"]
    damaged = [name for name, one in listed.items() if one["image"]["info"]["PatientID"].startswith("A")]
    assert len(damaged) >= 4
    for name in damaged:
        answers = [
            requests.post(f"{address}/infer/{MODEL}?image={name}&output=json"),
            requests.get(f"{address}/datastore/image?image={name}"),
        ]
        for answer in answers:
            assert answer.status_code in (200, 400), answer.text
            assert str(folder) not in answer.text
