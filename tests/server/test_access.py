"""Every attack that MONAI Label's own server is known to fall to, and who may do what."""

import gzip
import io
import json
import tracemalloc
import zipfile

import nibabel
import numpy as np
import pytest
import requests
from tests.server.served_app import served

from breastkit.cli import main
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.server.access import role_for
from breastkit.server.monailabel_fixes import prepare
from breastkit.server.request_limits import Limits
from breastkit.server.users import Role, TooManyFailuresError, Users, set_user

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402

MODEL = "breast_us_lesion_segmentation"
LARGEST = 2**20
PASSWORDS = {"eva": "only looking", "anna": "draws lesions", "root": "runs the place"}
ROLES = {"eva": "viewer", "anna": "annotator", "root": "admin"}


def picture():
    return np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)


def png_of(array):
    import cv2

    return cv2.imencode(".png", array)[1].tobytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    write_png(folder / "studies" / "us.png", picture())
    (folder / "secret.png").write_bytes(png_of(picture()))
    for name, password in PASSWORDS.items():
        set_user(str(folder / "users.json"), name, role=ROLES[name], password=password)
    return folder


@pytest.fixture(scope="module")
def open_server(place):
    """Without users, for this machine alone."""
    with served(place / "studies", limits=Limits(largest=LARGEST)) as (address, _):
        yield address


@pytest.fixture(scope="module")
def server(place):
    with served(place / "studies", users=Users(place / "users.json"), limits=Limits(largest=LARGEST)) as (address, _):
        yield address


def files_in(folder):
    # What a server caches of its own accord is no trace of an attack.
    return {path.relative_to(folder) for path in folder.rglob("*") if ".cache" not in path.parts}


@pytest.fixture
def nothing_is_written(place):
    before = files_in(place)
    yield
    assert files_in(place) == before


ATTACKS = {
    "expression in a training": ("POST", f"/train/{MODEL}", {"json": {"max_epochs": "$__import__('os').system('id')"}}),
    "expression in an inference": ("POST", f"/infer/{MODEL}?image=us", {"data": {"params": '{"a": {"b": ["$1+1"]}}'}}),
    "reference in a next sample": ("POST", "/activelearning/first", {"json": {"a": "@network"}}),
    "image stored elsewhere": ("PUT", "/datastore/image?image=../x", {"files": {"file": ("x.png", png_of(picture()))}}),
    "image's own name elsewhere": ("PUT", "/datastore/image", {"files": {"file": ("../../x y.sh.png", b"")}}),
    "label's tag elsewhere": ("PUT", "/datastore/label?image=us&tag=../../x", {"files": {"label": ("l.png", b"")}}),
    "label of another image": ("PUT", "/datastore/label?image=../secret", {"files": {"label": ("l.png", b"")}}),
    "any bytes as a label": ("PUT", "/datastore/label?image=us", {"files": {"label": ("l.nii.gz", b"<html>oops")}}),
    "a program as a label": ("PUT", "/datastore/label?image=us", {"files": {"label": ("l.sh", b"#!/bin/sh")}}),
    "any file as an image": ("POST", f"/infer/{MODEL}?image=/etc/passwd", {"data": {"params": "{}"}}),
    "any file downloaded": ("GET", "/datastore/image?image=..%2Fsecret.png", {}),
    "weights by a path": ("POST", "/infer/..%2F..%2Fetc?image=us", {"data": {"params": "{}"}}),
    "the PACS's own interface": ("GET", "/proxy/dicom/../system", {}),
    "the PACS beside DICOMweb": ("GET", "/dicom-web/../system", {}),
    "weights overwritten": ("PUT", f"/model/{MODEL}", {"files": {"file": ("model.pt", b"x")}}),
    "app reloaded": ("POST", "/reload", {}),
    "nested too deeply": ("POST", f"/infer/{MODEL}?image=us", {"data": {"params": "[" * 50_000}}),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.usefixtures("nothing_is_written")
def test_attack_fails(open_server, attack):
    method, path, options = ATTACKS[attack]
    request = requests.Request(method, open_server, **options).prepare()
    # As it stands: requests would tidy the points away.
    request.url = open_server + path
    answer = requests.Session().send(request)
    assert answer.status_code in (400, 404, 405, 422), answer.text
    assert "uid=" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.usefixtures("nothing_is_written")
def test_archives_are_not_unpacked(open_server):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../../x.txt", "x")
    answer = requests.put(f"{open_server}/session/?uncompress=true", files={"files": ("a.zip", archive.getvalue())})
    assert answer.status_code == 400


def nifti(shape, voxels, *, more=b""):
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.uint8), np.eye(4)).header
    header.set_data_shape(shape)
    header["vox_offset"] = 352
    return gzip.compress(header.binaryblock + bytes(4 + voxels)) + more


def nrrd_file(sizes, content, *fields):
    lines = ["NRRD0004", "type: uint8", "dimension: 3", "space: left-posterior-superior", "encoding: gzip"]
    lines += [f"sizes: {sizes}", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)", *fields]
    return ("\n".join(lines) + "\n\n").encode() + content


# Each is some hundred kilobytes and would be a hundred megabytes in memory, or claims gigabytes.
GROWN = bytes(100 * 2**20)
BOMBS = {
    "claims a terabyte": ("l.nii.gz", lambda: nifti((30_000, 30_000, 30_000), 10_000)),
    "holds more than it claims": ("l.nii.gz", lambda: nifti((60, 40, 1), len(GROWN))),
    "goes on after its end": ("l.nii.gz", lambda: nifti((60, 40, 1), 2400, more=gzip.compress(GROWN))),
    "NRRD that claims a terabyte": ("l.nrrd", lambda: nrrd_file("30000 30000 30000", gzip.compress(bytes(9)))),
    "NRRD that holds more": ("l.nrrd", lambda: nrrd_file("60 40 1", gzip.compress(GROWN))),
    "NRRD further on": ("l.nrrd", lambda: nrrd_file("60 40 1", b"x\n" + gzip.compress(GROWN), "line skip: 1")),
    "NRRD of nothing but a header": ("l.nrrd", lambda: nrrd_file("60 40 1", b"", "x: y\n" * 100_000)),
    "PNG of another size": ("l.png", lambda: png_of(np.zeros((9000, 9000), np.uint8))),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.usefixtures("nothing_is_written")
def test_a_label_that_grows_is_refused_before_it_does(open_server, bomb):
    name, make = BOMBS[bomb]
    content = make()
    assert len(content) < LARGEST
    tracemalloc.start()
    try:
        answer = requests.put(f"{open_server}/datastore/label?image=us", files={"label": (name, content)})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 400, answer.text
    # The server is a thread of this process; a part of what would grow, and the request itself, may be there.
    assert most < len(GROWN) / 4


@pytest.mark.usefixtures("nothing_is_written")
def test_a_lent_image_that_grows_is_refused(open_server):
    for content in (nifti((60, 40, 3), 2 * 2**20 + len(GROWN)), nifti((60, 40, 3), 7200, more=gzip.compress(GROWN))):
        for way in (("PUT", "/session/", "files"), ("PUT", "/datastore/image?image=new", "file")):
            answer = requests.request(way[0], open_server + way[1], files={way[2]: ("i.nii.gz", content)})
            assert answer.status_code == 400, answer.text


@pytest.mark.usefixtures("nothing_is_written")
def test_large_requests_are_refused_said_or_not(open_server):
    url = f"{open_server}/datastore/label?image=us"
    assert requests.put(url, files={"label": ("l.png", bytes(2 * LARGEST))}).status_code == 413
    # Without a Content-Length.
    begin = b'--x\r\nContent-Disposition: form-data; name="label"; filename="l.png"\r\n\r\n'
    unsaid = (begin if not number else bytes(2**16) for number in range(64))
    answer = requests.put(url, data=unsaid, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413


def test_pages_of_other_sites_get_nothing(open_server):
    evil = {"Origin": "https://evil.example"}
    read = requests.get(f"{open_server}/info/", headers=evil)
    assert "access-control-allow-origin" not in read.headers
    asked = requests.options(f"{open_server}/info/", headers={**evil, "Access-Control-Request-Method": "PUT"})
    assert "access-control-allow-origin" not in asked.headers
    assert requests.post(f"{open_server}/infer/{MODEL}?image=us", headers=evil).status_code == 403
    assert requests.get(f"{open_server}/info/", headers={"Host": "evil.example"}).status_code == 403


def test_nobody_passes_without_a_token(server):
    for method, path in (("GET", "/info/"), ("GET", "/datastore/image?image=us"), ("GET", "/dicom-web/studies")):
        assert requests.request(method, server + path).status_code == 401
    wrong = requests.get(f"{server}/info/", headers={"Authorization": "Bearer none"})
    assert wrong.status_code == 401
    page = requests.get(f"{server}/", headers={"Accept": "text/html"}, allow_redirects=False)
    assert page.headers["location"].endswith("/login")


def test_the_reference_client_logs_in(server):
    client = MONAILabelClient(server)
    assert client.auth_enabled()
    assert not client.auth_valid_token()
    client.update_auth(client.auth_token("eva", PASSWORDS["eva"]))
    assert client.auth_valid_token()
    assert MODEL in client.info()["models"]


def test_a_browser_logs_in_with_a_cookie(server):
    browser = requests.Session()
    wrong = browser.post(f"{server}/login", data={"username": "anna", "password": "guessed wrong"})
    assert wrong.status_code == 401
    browser.post(f"{server}/login", data={"username": "anna", "password": PASSWORDS["anna"]}, allow_redirects=False)
    (cookie,) = browser.cookies
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite").lower() == "strict"
    assert browser.get(f"{server}/auth/token/valid").json() == {"username": "anna", "role": "annotator"}


def token_of(server, name):
    answer = requests.post(f"{server}/auth/token", data={"username": name, "password": PASSWORDS[name]})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_viewer_looks_and_an_annotator_saves(server, place):
    url, label = f"{server}/datastore/label?image=us", {"label": ("l.png", png_of((picture() > 200).astype(np.uint8)))}
    assert requests.put(url, files=label, headers=token_of(server, "eva")).status_code == 403
    saved = requests.put(url, files=label, headers=token_of(server, "anna"))
    assert saved.status_code == 200, saved.text
    (info,) = (place / "studies" / "labels" / "final" / "us").glob("*.json")
    assert json.loads(info.read_text())["user"] == "anna"


def test_roles():
    assert role_for("GET", "/info/") is Role.VIEWER
    assert role_for("POST", "/infer/x") is Role.VIEWER
    assert role_for("PUT", "/datastore/label") is Role.ANNOTATOR
    assert role_for("POST", "/dicom-web/studies") is Role.ANNOTATOR
    assert role_for("DELETE", "/datastore/label") is Role.ADMIN
    assert role_for("POST", "/anything/new") is Role.ADMIN


def test_guessing_is_slowed(tmp_path):
    path = set_user(str(tmp_path / "users.json"), "anna", password="draws lesions")
    users = Users(path)
    assert users.log_in("anna", "draws lesions")
    for _ in range(5):
        assert users.log_in("anna", "wrong guess") is None
    with pytest.raises(TooManyFailuresError):
        users.log_in("anna", "draws lesions")


def test_passwords_are_not_in_the_file(tmp_path, capsys):
    path = tmp_path / "users.json"
    assert main(["users", "set", str(path), "anna", "--role", "viewer", "--password", "draws lesions"]) == 0
    assert "draws" not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert main(["users", "set", str(path), "anna", "--password", "short"]) == 1
    assert main(["users", "set", str(path), "anna", "--role", "king", "--password", "draws lesions"]) == 1
    path.write_text("{}")
    with pytest.raises(BreastkitError, match="no file of users"):
        Users(path)
