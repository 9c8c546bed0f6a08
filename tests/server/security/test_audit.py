"""Who asked what is kept; names of patients, passwords and tokens are not."""

import io
import json
import logging
import subprocess
import sys

import cv2
import numpy as np
import pydicom
import pytest
import requests
from tests.server.served_app import served

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.security.audit import AUDIT_FILE, AUDIT_FOLDER, AuditLog
from breastkit.server.security.users import Users, set_user

PATIENT, PASSWORD = "Mustermann_Erika", "draws lesions"


def lines_of(folder):
    path = folder / AUDIT_FOLDER / AUDIT_FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    write_png(folder / "studies" / f"{PATIENT}.png", np.arange(2400, dtype=np.uint8).reshape(40, 60))
    write_png(folder / "studies" / "other.png", np.arange(2400, dtype=np.uint8).reshape(40, 60))
    set_user(str(folder / "users.json"), "anna", role="annotator", password=PASSWORD)
    return folder


def test_a_session_of_work_is_told_without_names_passwords_and_tokens(place, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    with served(place / "studies", users=Users(place / "users.json")) as (address, _):
        wrong = requests.post(f"{address}/auth/token", data={"username": PASSWORD, "password": "guessed wrong"})
        assert wrong.status_code == 401
        login = requests.post(f"{address}/auth/token", data={"username": "anna", "password": PASSWORD})
        token = login.json()["access_token"]
        anna = {"Authorization": f"Bearer {token}"}
        mask = io.BytesIO(cv2.imencode(".png", np.eye(40, 60, dtype=np.uint8))[1].tobytes())
        label = {"label": (f"{PATIENT}.png", mask)}
        asked = [
            requests.get(f"{address}/datastore/image?image={PATIENT}"),
            requests.get(f"{address}/datastore/image?image={PATIENT}", headers=anna),
            requests.get(f"{address}/datastore/image?image=other", headers=anna),
            requests.put(f"{address}/datastore/label?image={PATIENT}", files=label, headers=anna),
            requests.get(f"{address}/{PATIENT}/x", headers=anna),
            requests.delete(f"{address}/datastore/label?label={PATIENT}", headers=anna),
            requests.request(PATIENT.upper(), f"{address}/", headers=anna),
        ]
        found = lines_of(place / "studies" / "labels")
    assert [one["status"] for one in found[2:]] == [one.status_code for one in asked]
    assert [(one["user"], one["method"], one["endpoint"], one["status"]) for one in found] == [
        ("", "POST", "/auth/token", 401),
        ("anna", "POST", "/auth/token", 200),
        ("", "GET", "/datastore/image", 401),
        ("anna", "GET", "/datastore/image", 200),
        ("anna", "GET", "/datastore/image", 200),
        ("anna", "PUT", "/datastore/label", 200),
        ("anna", "GET", "other", 404),
        # Who lacks the role is named: that is what is looked for.
        ("anna", "DELETE", "/datastore/label", 403),
        ("anna", "other", "/", 403),
    ]
    assert {one["address"] for one in found} == {"127.0.0.1"}
    # The same image is the same code, another one another.
    codes = [one["image"] for one in found]
    assert codes[2] == codes[3] == codes[5] == codes[7] != codes[4]
    assert all(one["ms"] >= 0 and one["time"].endswith("+00:00") for one in found)
    outputs = capfd.readouterr()
    # What libraries of the test's own client log is not the server's.
    logged = "".join(one.getMessage() for one in caplog.records if not one.name.startswith(("urllib3", "httpx")))
    for text in (json.dumps(found), outputs.out, outputs.err, logged):
        for secret in (PATIENT, PATIENT.upper(), PASSWORD, "guessed wrong", token):
            assert secret not in text


def test_series_are_told_by_their_code(tmp_path):
    phantom = make_us_phantom(5, 1)
    write_us_dicom(
        tmp_path / "studies" / "us.dcm", phantom.image, spacing=phantom.spacing, patient=PATIENT, uid_seed="audit"
    )
    with served(tmp_path / "studies", conf={"labels": str(tmp_path / "labels")}) as (address, services):
        (image,) = services.store.images.all()
        study = services.store.image(image).info["StudyInstanceUID"]
        requests.get(f"{address}/dicom-web/studies", params={"PatientID": PATIENT})
        requests.get(f"{address}/dicom-web/studies/{study}/series/{image}/metadata")
        requests.get(f"{address}/datastore/image", params={"image": image})
        requests.get(f"{address}/ohif/app-config.js")
        requests.get(f"{address}/")
    found = lines_of(tmp_path / "labels")
    assert [one["endpoint"] for one in found] == [
        "/dicom-web/studies",
        "/dicom-web/studies/{study}/series/{series}/metadata",
        "/datastore/image",
        "/ohif/{path:path}",
        "/",
    ]
    assert found[1]["image"] == found[2]["image"]
    assert PATIENT not in json.dumps(found)
    assert image not in json.dumps(found)


def test_what_pydicom_says_of_a_header_is_not_logged(tmp_path):
    odd = tmp_path / "odd.dcm"
    phantom = make_us_phantom(5, 1)
    write_us_dicom(odd, phantom.image, spacing=phantom.spacing, patient=PATIENT, uid_seed="odd")
    dataset = pydicom.dcmread(odd)
    with pydicom.config.disable_value_validation():
        dataset.FrameOfReferenceUID = PATIENT
        dataset.save_as(odd)
    reads = f"import pydicom; pydicom.dcmread({str(odd)!r}).FrameOfReferenceUID"
    told = []
    for before in (
        "",
        "from breastkit.server.security.audit import keep_names_out_of_logs; keep_names_out_of_logs(); ",
    ):
        program = f"import logging; logging.basicConfig(); {before}{reads}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        told.append(PATIENT in done.stderr)
    assert told == [True, False]


def test_only_its_owner_reads_it_and_full_files_are_kept(tmp_path):
    log = AuditLog(tmp_path, largest=2000, kept=3)
    code = log.code_of("a")
    for number in range(200):
        log.write({"number": number, "text": "x" * 50})
    log.close()
    files = sorted(tmp_path.glob(f"{AUDIT_FILE}*"))
    assert len(files) == 4
    assert all(path.stat().st_size <= 2000 for path in files)
    numbers = sorted(json.loads(line)["number"] for path in files for line in path.read_text().splitlines())
    assert numbers == list(range(numbers[0], 200))
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    # After a restart the same image has the same code; elsewhere it has another.
    again = AuditLog(tmp_path)
    again.write({"number": 200})
    again.close()
    assert json.loads((tmp_path / AUDIT_FILE).read_text().splitlines()[-1]) == {"number": 200}
    assert again.code_of("a") == code != AuditLog(tmp_path / "elsewhere").code_of("a")
