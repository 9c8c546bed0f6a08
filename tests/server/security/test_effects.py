"""All that a request can change for longer than it lasts, tried as every role: what is refused changes nothing."""

import json
import time
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import requests
from tests.server.served_app import served

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.labels.candidate_verdicts import FOLDER, CandidateVerdicts
from breastkit.server.security.request_values import TrainingOptions
from breastkit.server.security.rules import RULES
from breastkit.server.security.users import Role, Users, set_user

MODEL = "breast_us_lesion_segmentation"
SIZE = (120, 150)
PATIENCE = 120
PASSWORDS = {
    Role.VIEWER: "only looking",
    Role.ANNOTATOR: "draws lesions",
    Role.REVIEWER: "looks twice",
    Role.ADMIN: "runs the place",
}


@dataclass
class Place:
    """A server, what it stands on, and who is logged in."""

    address: str
    services: object
    headers: dict

    def image(self):
        return next(iter(self.services.store.images.all()))

    def kept(self):
        """Returns what lasts: the files, what is lent, what runs, what was measured, whose the images are,
        and what was said of candidates."""
        folder = self.services.store.folder
        files = {path for path in folder.rglob("*") if ".audit" not in path.parts and ".cache" not in path.parts}
        measured = folder / ".cache" / "measured.json"
        when = measured.stat().st_mtime_ns if measured.is_file() else 0
        whose = {image: self.services.readings.assignments.of(image) for image in self.services.store.images.all()}
        whose = {image: given for image, given in whose.items() if given}
        said = CandidateVerdicts(folder / FOLDER).counts()
        return files, set(self.services.sessions._sessions), self.services.training.state()["status"], when, whose, said


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users.json"
    for role, password in PASSWORDS.items():
        set_user(str(path), role.name.lower(), role=role.name.lower(), password=password)
    return path


def place_of(studies, labels, users, models):
    return served(studies, conf={"labels": str(labels), "models": str(models)}, users=Users(users))


def logged_in(address, services):
    headers = {}
    for role, password in PASSWORDS.items():
        login = {"username": role.name.lower(), "password": password}
        token = requests.post(f"{address}/auth/token", data=login).json()["access_token"]
        headers[role] = {"Authorization": f"Bearer {token}"}
    return Place(address, services, headers)


@pytest.fixture(scope="module")
def of_files(users, tmp_path_factory):
    """Two pictures of different patients, both labelled."""
    folder = tmp_path_factory.mktemp("files")
    for number in (1, 2):
        write_png(folder / "studies" / f"us_{number}.png", make_us_phantom(5, number, size=SIZE).image)
    with place_of(folder / "studies", folder / "labels", users, folder / "models") as (address, services):
        place = logged_in(address, services)
        for image in services.store.images.all():
            answer = requests.put(
                f"{address}/datastore/label?image={image}", files=mask(), headers=place.headers[Role.ADMIN]
            )
            assert answer.status_code == 200, answer.text
        yield place
        services.training.stop()


@pytest.fixture(scope="module")
def of_dicom(users, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    write_us_dicom(
        folder / "studies" / "us.dcm",
        make_us_phantom(5, 1, size=SIZE).image,
        spacing=0.2,
        patient="US",
        uid_seed="effects",
    )
    with place_of(folder / "studies", folder / "labels", users, folder / "models") as (address, services):
        yield logged_in(address, services)


def mask():
    return {"label": ("label.png", cv2.imencode(".png", np.full(SIZE, 255, np.uint8))[1].tobytes())}


def picture(field):
    return {field: ("picture.png", cv2.imencode(".png", make_us_phantom(6, 1, size=SIZE).image)[1].tobytes())}


def lent(place):
    return place.services.sessions.add([picture("file")["file"]])


def labelled(place):
    store, image = place.services.store, place.image()
    shape = store.images.grid_of(store.image(image)).shape
    store.labels.save(image, np.ones(shape, np.uint8), store.images.grid_of(store.image(image)), tag="tried", flat=True)
    return image


def labelled_by_hand(place):
    return place.services.store.labels.labelled()[0]


def unlabelled(place, role):
    """Adds an image that waits for somebody."""
    folder = place.services.store.images.folder
    write_png(folder / f"fresh_{role}.png", make_us_phantom(6, role, size=SIZE).image)


def deleted(place):
    image = labelled(place)
    place.services.store.labels.delete(image, "tried")
    return image


def train_first(place):
    place.services.training.start(place.services.trainable[MODEL].bundle, TrainingOptions())
    return "/train/"


def stored(place, role):
    path = place.services.store.folder / f".sent-{role}.dcm"
    write_us_dicom(
        path, make_us_phantom(6, role, size=SIZE).image, spacing=0.2, patient="X", uid_seed=f"effects {role} {path}"
    )
    data = path.read_bytes()
    path.unlink()
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--x--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    return {"data": body, "headers": {"Content-Type": kind}}


# What makes each of the rules write: the address, and what is sent. Of some nothing can be made to last here: of these
# only the status is looked at.
SAVING = {"params": json.dumps({"save_label": True})}
EFFECTS = {
    ("POST", "/infer/{model}"): lambda p, r: (f"/infer/{MODEL}?image={p.image()}&output=json", {"data": SAVING}),
    ("POST", "/batch/infer/{model}"): lambda p, r: (
        f"/batch/infer/{MODEL}?run_sync=true",
        {"json": {"label_tag": f"batch{r}"}},
    ),
    ("PUT", "/session/"): lambda p, r: ("/session/", {"files": picture("files")}),
    ("DELETE", "/session/{session_id}"): lambda p, r: (f"/session/{lent(p)}", {}),
    ("PUT", "/datastore/"): lambda p, r: (f"/datastore/?image=new {r}", {"files": picture("file")}),
    ("PUT", "/datastore/image"): lambda p, r: (f"/datastore/image?image=newer {r}", {"files": picture("file")}),
    ("PUT", "/datastore/label"): lambda p, r: (f"/datastore/label?image={p.image()}", {"files": mask()}),
    ("PUT", "/datastore/label/info"): lambda p, r: (
        f"/datastore/label/info?label={p.image()}",
        {"data": {"info": '{"class": "benign"}'}},
    ),
    ("PUT", "/datastore/candidates"): lambda p, r: (
        f"/datastore/candidates?image={p.image()}",
        {"json": {"model": f"of_{r}", "center": (1, 2, 0), "size": (3, 3, 1), "score": 0.5, "verdict": "keep"}},
    ),
    ("DELETE", "/datastore/label"): lambda p, r: (f"/datastore/label?id={labelled(p)}&tag=tried", {}),
    ("POST", "/datastore/label/restoration"): lambda p, r: (
        f"/datastore/label/restoration?id={deleted(p)}&tag=tried",
        {},
    ),
    ("POST", "/activelearning/{strategy}"): lambda p, r: (
        unlabelled(p, r) or "/activelearning/first",
        {"json": {}},
    ),
    ("PUT", "/readings/assignment"): lambda p, r: (f"/readings/assignment?image={p.image()}&reader=somebody", {}),
    ("POST", "/readings/review"): lambda p, r: (
        f"/readings/review?image={labelled_by_hand(p)}",
        {"json": {"review": "approve"}},
    ),
    ("POST", "/train/"): lambda p, r: ("/train/", {"json": {}}),
    ("POST", "/train/{model}"): lambda p, r: (f"/train/{MODEL}", {"json": {}}),
    ("DELETE", "/train/"): lambda p, r: (train_first(p), {}),
    ("POST", "/scoring/"): lambda p, r: ("/scoring/", {"json": {}}),
    ("POST", "/scoring/{method}"): lambda p, r: ("/scoring/dice", {"json": {}}),
    ("POST", "/dicom-web/studies"): lambda p, r: ("/dicom-web/studies", stored(p, r)),
}
WITHOUT = {
    ("POST", "/train/{model}/confirmation"): f"/train/{MODEL}/confirmation",
    ("DELETE", "/scoring/"): "/scoring/",
    ("DELETE", "/batch/infer"): "/batch/infer",
    ("POST", "/dicom-web/studies/{study}"): "/dicom-web/studies/1.2.3",
}


def test_every_rule_that_writes_is_tried():
    assert {(rule.method, rule.path) for rule in RULES if rule.writes} == {*EFFECTS, *WITHOUT}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.writes], ids=lambda rule: f"{rule.method} {rule.path}")
def test_what_is_refused_changes_nothing_and_what_is_allowed_does(rule, of_files, of_dicom):
    place = of_dicom if "dicom" in rule.path else of_files
    needed = rule.writes_from or rule.role
    for role in Role:
        settle(place)
        make = EFFECTS.get((rule.method, rule.path))
        path, sent = make(place, role) if make else (WITHOUT[rule.method, rule.path], {})
        before = place.kept()
        headers = {**place.headers[role], **sent.pop("headers", {})}
        status = requests.request(rule.method, place.address + path, headers=headers, **sent).status_code
        if role < needed:
            # What comes next is told to everybody, and made nobody's who could not outline it.
            assert status == (200 if "activelearning" in rule.path else 403)
            assert place.kept() == before
        elif make:
            assert status == 200
            if "scoring" in rule.path:
                settle(place)
            assert place.kept() != before
        else:
            assert status not in (401, 403)


def settle(place):
    """Ends trainings and waits for scorings, so that what changes is of the request that is tried."""
    place.services.training.stop()
    end = time.monotonic() + PATIENCE
    while place.services.scoring.state()["status"] == "RUNNING":
        assert time.monotonic() < end
        time.sleep(0.05)
