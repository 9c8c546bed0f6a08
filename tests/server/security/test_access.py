"""Every attack that MONAI Label's own server is known to fall to, and who may do what."""

import gzip
import http.client
import io
import json
import pickle
import threading
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
import requests
from starlette.testclient import TestClient
from tests.server.attacks import ATTACKS, MODEL, picture, png_of, send
from tests.server.served_app import served

from breastkit.cli import main
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.server.application import build_application
from breastkit.server.labels.saved_labels import SavedLabels
from breastkit.server.monailabel_fixes import prepare
from breastkit.server.security.request_limits import Limits
from breastkit.server.security.trusted_proxy import TrustedProxy, proxy_of
from breastkit.server.security.users import TooManyFailuresError, Users, set_user
from breastkit.server.services import open_services

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402

LARGEST = 2**20
PASSWORDS = {"eva": "only looking", "anna": "draws lesions", "root": "runs the place"}
ROLES = {"eva": "viewer", "anna": "annotator", "root": "admin"}


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
    conf = {"labels": str(place / "open_labels")}
    with served(place / "studies", conf=conf, limits=Limits(largest=LARGEST)) as (address, _):
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


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.usefixtures("nothing_is_written")
def test_attack_fails(open_server, attack):
    answer = send(attack, open_server)
    assert answer.status_code in (400, 404, 405, 422), answer.text
    assert "uid=" not in answer.text
    assert "root:" not in answer.text


class Program:
    """Runs when it is unpickled, as in a file that says it holds weights."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


def test_weights_that_a_request_names_are_not_read(open_server, place, tmp_path):
    marker, weights = tmp_path / "ran", tmp_path / "model.pt"
    weights.write_bytes(pickle.dumps(Program(marker)))
    told = {name: str(weights) for name in ("model_filename", "model_path", "ckpt_path", "pretrained")}
    url = f"{open_server}/infer/{MODEL}?image=us&output=json"
    mine = requests.post(url, data={"params": json.dumps(told)})
    assert mine.status_code == 200, mine.text
    assert mine.json() == requests.post(url).json()
    assert requests.post(f"{open_server}/train/{MODEL}", json=told).status_code == 400
    assert not marker.exists()
    # It would have run.
    pickle.loads(weights.read_bytes())
    assert marker.exists()


@pytest.mark.parametrize("client", ["203.0.113.5", "10.0.0.2", "fe80::1"])
def test_from_another_machine_nobody_is_served_without_users(place, client, tmp_path):
    application = build_application(open_services(str(place / "studies"), {"labels": str(tmp_path)}))
    # As uvicorn tells of a connection from there; this machine has no second one to connect from.
    asking = TestClient(application, base_url="http://127.0.0.1", client=(client, 50_000))
    assert asking.get("/info/").status_code == 403


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


def test_logging_out_ends_the_token_of_a_program_and_of_a_browser(server):
    headers = token_of(server, "eva")
    assert requests.post(f"{server}/auth/logout", headers=headers).status_code == 204
    assert requests.get(f"{server}/info/", headers=headers).status_code == 401
    # A token that has ended is no error.
    assert requests.post(f"{server}/auth/logout", headers=headers).status_code == 204
    browser = requests.Session()
    browser.headers["Accept"] = "text/html"
    browser.post(f"{server}/login", data={"username": "anna", "password": PASSWORDS["anna"]}, allow_redirects=False)
    (cookie,) = browser.cookies
    assert "Log out" in browser.get(f"{server}/").text
    gone = browser.post(f"{server}/auth/logout", allow_redirects=False)
    assert (gone.status_code, gone.headers["location"]) == (303, "/login")
    assert not browser.cookies
    kept = requests.get(f"{server}/info/", cookies={cookie.name: cookie.value})
    assert kept.status_code == 401
    foreign = {**token_of(server, "anna"), "Origin": "https://evil.example"}
    assert requests.post(f"{server}/auth/logout", headers=foreign).status_code == 403


def test_answers_say_what_a_page_may_load_and_that_data_are_not_kept(server):
    headers = token_of(server, "eva")
    for path in ("/", "/info/", "/datastore/image?image=us", "/login", "/nowhere"):
        answer = requests.get(server + path, headers=headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Cache-Control"] == "no-store", path
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'self'" in policy and "unsafe-eval" not in policy
    assert "http" not in requests.get(f"{server}/ohif/", headers=headers).headers["Content-Security-Policy"]


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


def test_two_who_save_the_same_image_at_once_are_both_kept(server, place):
    write_png(place / "studies" / "both.png", picture())
    both = {name: token_of(server, name) for name in ("anna", "root")}
    ready = threading.Barrier(2)

    def save(name):
        ready.wait(60)
        area = np.zeros(picture().shape, np.uint8)
        area[:10, :10] = 1 if name == "anna" else 2
        label = {"label": ("l.png", png_of(area))}
        return requests.put(f"{server}/datastore/label?image=both", files=label, headers=both[name])

    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            answers = dict(zip(both, pool.map(save, both), strict=True))
    assert [one.status_code for one in answers.values()] == [200, 200]
    labels = SavedLabels(place / "studies" / "labels")
    for name, answer in answers.items():
        told = answer.json()
        saved = {one.version: one for one in labels.versions("both", told["tag"])}[told["version"]]
        assert saved.info["user"] == name
        assert saved.info["voxels"] == {"1" if name == "anna" else "2": 100}
    assert len(labels.versions("both", "reader:anna")) == 5
    assert [one.info["user"] for one in labels.versions("both")].count("root") == 5
    # An annotator's label does not take the place of what whoever runs the place has settled.
    info = requests.get(f"{server}/datastore/label/info?label=both", headers=both["anna"]).json()
    assert info["user"] == "root"


@pytest.fixture(scope="module")
def behind_proxy(place):
    """Two servers, one whose proxy is this machine and one whose proxy is another."""
    users = Users(place / "users.json")
    conf = {"users": "yes", "user_header": "X-Forwarded-User"}
    near, far = (proxy_of({**conf, "trusted_proxy": one}) for one in ("127.0.0.1, ::1", "192.0.2.7"))
    with (
        served(place / "studies", conf={"labels": str(place / "near")}, users=users, proxy=near) as (here, _),
        served(place / "studies", conf={"labels": str(place / "far")}, users=users, proxy=far) as (elsewhere, _),
    ):
        yield here, elsewhere


def test_the_proxy_names_the_user_and_the_file_the_role(behind_proxy):
    here, _ = behind_proxy
    told = requests.get(f"{here}/auth/token/valid", headers={"X-Forwarded-User": "anna"})
    assert told.json() == {"username": "anna", "role": "annotator"}
    for name, may in (("eva", False), ("anna", True)):
        answer = requests.put(f"{here}/datastore/label?image=us", headers={"x-forwarded-user": name})
        assert (answer.status_code == 403) != may
    page = requests.get(f"{here}/", headers={"X-Forwarded-User": "eva", "Accept": "text/html"})
    assert page.status_code == 200
    # Without a name one logs in as elsewhere.
    assert requests.get(f"{here}/info/").status_code == 401
    assert requests.get(f"{here}/info/", headers=token_of(here, "eva")).status_code == 200


@pytest.mark.parametrize("name", ["nobody", "", "ANNA", "anna,root", "anna\t root"])
def test_whom_the_file_does_not_know_is_refused_by_whatever_token(behind_proxy, name):
    here, _ = behind_proxy
    headers = {"X-Forwarded-User": name, **token_of(here, "root")}
    assert requests.get(f"{here}/info/", headers=headers).status_code == 403


def test_two_names_are_none(behind_proxy):
    here, _ = behind_proxy
    connection = http.client.HTTPConnection(here.removeprefix("http://"))
    connection.putrequest("GET", "/info/")
    for name in ("root", "anna"):
        connection.putheader("X-Forwarded-User", name)
    connection.endheaders()
    assert connection.getresponse().status == 403


@pytest.mark.parametrize("more", [{}, {"X-Forwarded-For": "192.0.2.7"}, {"Forwarded": "for=192.0.2.7"}])
def test_from_elsewhere_the_header_says_nothing(behind_proxy, server, more):
    _, elsewhere = behind_proxy
    for address in (elsewhere, server):
        answer = requests.get(f"{address}/info/", headers={"X-Forwarded-User": "root", **more})
        assert answer.status_code == 401


def test_a_proxy_is_said_in_full(place, capsys):
    users = ["--users", str(place / "users.json")]
    proxy = ["--user-header", "X-Forwarded-User", "--trusted-proxy", "127.0.0.1"]
    for words in (proxy, [*users, *proxy[:2]], [*users, *proxy[2:]]):
        assert main(["serve", "--studies", str(place / "studies"), *words]) == 1
        assert "give all three" in capsys.readouterr().err
    for header, address in (
        ("X User", "127.0.0.1"),
        ("X-User", "localhost"),
        ("X-User", "127.0.0.1/8"),
        ("X-User", ""),
    ):
        with pytest.raises(BreastkitError, match="give"):
            TrustedProxy.of(header, address)


def test_guessing_is_slowed(tmp_path):
    path = set_user(str(tmp_path / "users.json"), "anna", password="draws lesions")
    users = Users(path)
    assert users.log_in("anna", "draws lesions")
    for _ in range(3):
        assert users.log_in("anna", "wrong guess", client="10.0.0.9") is None
    with pytest.raises(TooManyFailuresError):
        users.log_in("anna", "draws lesions", client="10.0.0.9")
    # Whoever guesses elsewhere keeps nobody out.
    assert users.log_in("anna", "draws lesions", client="10.0.0.1")


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
