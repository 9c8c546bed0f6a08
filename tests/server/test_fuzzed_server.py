"""Requests and files that nobody would send: refused with a sentence, never an error of the server, nothing written.

What is asked for is made by schemathesis from the description of the interface, the same at every run; files are whole
ones with bytes missing or turned around.
"""

import gzip
import hashlib
import io
import random
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from tests.server.served_app import served

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_nifti, write_png
from breastkit.phantoms.us.pictures import make_us_phantom

FEW = 3
MODEL = "breast_us_lesion_segmentation"
SHAPE = (40, 60)
VOLUME = (24, 20, 6)
amounts = pytest.mark.parametrize("amount", [FEW, pytest.param(40 * FEW, marks=pytest.mark.slow)])


def fingerprints(place, *, but=()):
    """Returns what is in a folder, except in some of its folders."""
    return {
        path.relative_to(place): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in place.rglob("*")
        if not any(path == one or one in path.parents for one in but)
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Studies of both kinds, with something beside them, and a folder for temporary files."""
    place = tmp_path_factory.mktemp("fuzzed")
    rng = np.random.default_rng(0)
    write_png(place / "files" / "us.png", rng.integers(0, 255, SHAPE, dtype=np.uint8))
    write_nifti(place / "files" / "mr.nii.gz", rng.integers(0, 900, VOLUME).astype(np.int16), np.diag([2, 2, 3, 1.0]))
    phantom = make_us_phantom(5, 1)
    write_us_dicom(place / "dicom" / "us.dcm", phantom.image, spacing=phantom.spacing, patient="US", uid_seed="fuzz")
    (place / "secret.txt").write_text("not for clients")
    (place / "temporary").mkdir()
    return place


@pytest.fixture(scope="module")
def servers(place):
    """A server over files and one over DICOM; the folders they may write to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(place / "temporary"))
        patch.chdir(place)
        conf = {one: {"labels": str(place / f"{one}_labels"), "models": str(place / "models")} for one in ("f", "d")}
        with (
            served(place / "files", conf=conf["f"]) as (files, _),
            served(place / "dicom", conf=conf["d"]) as (dicom, _),
        ):
            yield {"files": files, "dicom": dicom}, (place / "f_labels", place / "d_labels")


@pytest.fixture
def nothing_else_is_written(place, servers):
    """Only the folders of labels may change, and temporary files are gone."""
    before = fingerprints(place, but=servers[1])
    yield
    assert fingerprints(place, but=servers[1]) == before


def is_an_answer(response):
    assert response.status_code < 500 or response.status_code == 503, response.text[:500]
    assert "not for clients" not in response.text
    assert "Traceback" not in response.text


def fuzz(schema, mode, amount):
    """Sends so many requests to every endpoint of a description."""
    for result in schema.get_all_operations():
        operation = result.ok()

        @seed(7)
        @settings(
            max_examples=amount,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            is_an_answer(case.call(timeout=120))

        # What takes any value at all cannot be asked wrongly.
        with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
            check()


@amounts
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["meant", "not meant"])
@pytest.mark.parametrize("which", ["files", pytest.param("dicom", marks=pytest.mark.slow), "DICOMweb"])
@pytest.mark.usefixtures("nothing_else_is_written")
def test_requests_from_the_description(servers, which, mode, amount):
    base = servers[0]["dicom"] + "/dicom-web" if which == "DICOMweb" else servers[0][which]
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    # The store, mounted, calls its place a path of the server.
    schema.config.update(base_url=base)
    fuzz(schema, mode, amount)
    for address in servers[0].values():
        assert requests.get(f"{address}/info/").status_code == 200


def nrrd_of(array):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "label.nrrd")
        nrrd.write(str(path), array, {"space": "left-posterior-superior", "space directions": np.diag([-2, -2, 3.0])})
        return path.read_bytes()


@pytest.fixture(scope="module")
def whole_files(place):
    """Files as they should be, by their suffix."""
    import cv2

    label = np.zeros(VOLUME, np.uint8)
    label[4:9, 5:9, 2:4] = 1
    return {
        ".nii.gz": nibabel.Nifti1Image(label, np.diag([2, 2, 3, 1.0])).to_bytes(),
        ".nrrd": nrrd_of(label),
        ".png": cv2.imencode(".png", np.eye(*SHAPE, dtype=np.uint8))[1].tobytes(),
        ".dcm": (place / "dicom" / "us.dcm").read_bytes(),
    }


def broken(whole, rng):
    """Returns a file with something wrong with it."""
    data = bytearray(whole)
    way = rng.choice(["empty", "cut", "turned", "header turned", "repeated", "other", "huge header", "zeros"])
    if way == "empty":
        return b""
    if way == "cut":
        return bytes(data[: rng.randrange(len(data))])
    if way in ("turned", "header turned"):
        for _ in range(rng.choice([1, 3, 20])):
            data[rng.randrange(min(len(data), 400) if way == "header turned" else len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)
    if way == "repeated":
        return bytes(data) + bytes(data)
    if way == "other":
        return rng.randbytes(rng.randrange(2000))
    if way == "huge header":
        return bytes(data[:200]) + b"x:=y\n" * 200_000 + bytes(data[200:])
    start = rng.randrange(len(data))
    return bytes(data[:start]) + bytes(len(data) - start)


def sent_to(addresses, name, content, rng):
    """Sends a file to one of the endpoints that take any."""
    files, dicom = addresses["files"], addresses["dicom"]
    image = rng.choice(["us", "mr"])
    way = rng.randrange(6)
    if way <= 2:
        return requests.put(f"{files}/datastore/label?image={image}", files={"label": (name, content)})
    if way == 3:
        return requests.put(f"{files}/session/", files={"files": (name, content)})
    if way == 4:
        return requests.put(f"{files}/datastore/image?image=new{rng.randrange(10**9)}", files={"file": (name, content)})
    if rng.random() < 0.3:
        return requests.post(f"{files}/infer/{MODEL}?output=json", files={"file": (name, content)})
    return requests.post(f"{dicom}/dicom-web/studies", data=content, headers={"Content-Type": "application/dicom"})


@amounts
def test_broken_files(servers, whole_files, place, amount):
    addresses, folders = servers
    # Sessions are kept for an hour, so their folders stay for now.
    apart = (*folders, place / "temporary")
    before = fingerprints(place, but=apart)
    rng = random.Random(amount)
    for suffix, whole in whole_files.items():
        for _ in range(8 * amount):
            content = broken(whole, rng)
            if suffix == ".nii.gz" and rng.random() < 0.7:
                # Otherwise a broken volume would only ever be broken gzip.
                content = gzip.compress(content, 1)
            name = f"file{rng.choice([suffix] * 4 + list(whole_files))}"
            is_an_answer(sent_to(addresses, name, content, rng))
    assert fingerprints(place, but=apart) == before
    assert not list((place / "temporary").glob("breastkit-temporary-request-*"))
    assert requests.get(f"{addresses['files']}/info/").status_code == 200
    check_labels(addresses["files"])


def check_labels(address):
    """Every label that was taken lies on the grid of its image."""
    for image, one in requests.get(f"{address}/datastore/?output=all").json()["objects"].items():
        if "final" in one["labels"]:
            content = requests.get(f"{address}/datastore/label", params={"label": image}).content
            if image == "mr":
                assert nibabel.Nifti1Image.from_bytes(gzip.decompress(content)).shape == VOLUME
            else:
                from PIL import Image

                assert Image.open(io.BytesIO(content)).size == SHAPE[::-1]
