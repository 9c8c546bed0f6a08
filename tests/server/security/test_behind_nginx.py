"""The server behind a real nginx with TLS, under a path, with the recipe of the threat model."""

import os
import re
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
import requests
from requests.adapters import HTTPAdapter
from tests.server.served_app import served
from tests.server.viewed_studies import JSON, write_picture

from breastkit.dicom.write_us import write_us_dicom
from breastkit.server.security.trusted_proxy import TrustedProxy
from breastkit.server.security.users import Users, set_user

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
RECIPE = "apps/breast_monailabel/docs/nginx.conf"
PASSWORD = "draws lesions"
CLIENT = "127.0.0.2"

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx (Debian: apt-get install nginx)")


class From(HTTPAdapter):
    """Connects from another address than the proxy's."""

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, source_address=(CLIENT, 0), **kwargs)


def start_nginx(folder, recipe, target):
    """Returns the process of an nginx with the recipe, its address and its certificate."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run([*made.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    changes = {
        r"listen 443": f"listen 127.0.0.1:{port}",
        r"/etc/ssl/certs/\S+(?=;)": str(certificate),
        r"/etc/ssl/private/\S+(?=;)": str(key),
        r"http://127.0.0.1:8000": target,
    }
    for pattern, value in changes.items():
        recipe, count = re.subn(pattern, value, recipe)
        assert count == 1, pattern
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder / 'pid'}; events {{}} http {{ access_log off; {places}\n{recipe}\n}}"
    )
    log = folder / "error.log"
    process = subprocess.Popen([NGINX, "-p", folder, "-e", log, "-c", folder / "nginx.conf"])
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, f"https://127.0.0.1:{port}/breast", str(certificate)
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    raise AssertionError("nginx does not listen")


def test_the_recipe_works(tmp_path, pytestconfig):
    (tmp_path / "studies").mkdir()
    write_picture(tmp_path / "studies" / "us.dcm")
    set_user(str(tmp_path / "users.json"), "anna", role="annotator", password=PASSWORD)
    options = {
        "users": Users(tmp_path / "users.json"),
        "root_path": "/breast/",
        "proxy": TrustedProxy.of("X-Forwarded-User", "127.0.0.1"),
    }
    conf = {"labels": str(tmp_path / "labels")}
    with served(tmp_path / "studies", conf=conf, **options) as (target, _):
        recipe = (pytestconfig.rootpath / RECIPE).read_text()
        process, address, certificate = start_nginx(tmp_path, recipe, target)
        try:
            ask_through(address, certificate, tmp_path)
        finally:
            process.terminate()
            process.wait(20)
    audited = (tmp_path / "labels" / ".audit" / "requests.jsonl").read_text()
    assert CLIENT in audited and "6.6.6.6" not in audited


def ask_through(address, certificate, folder):
    session = requests.Session()
    session.mount("https://", From())
    session.verify, session.trust_env = certificate, False
    # What a client claims counts for nothing.
    session.headers = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-User": "anna"}
    assert session.get(f"{address}/datastore/", timeout=60).status_code == 401
    entered = session.post(f"{address}/login", data={"username": "anna", "password": PASSWORD}, timeout=60)
    assert entered.status_code == 200 and f"<code>{address}/</code>" in entered.text
    (cookie,) = session.cookies
    assert cookie.secure and cookie.path == "/breast/"
    (study,) = session.get(f"{address}/dicom-web/studies", headers=JSON, timeout=60).json()
    (retrieve,) = study["00081190"]["Value"]
    assert retrieve.startswith(f"{address}/dicom-web/studies/")
    # More than the megabyte that nginx takes unless told otherwise, and back again.
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 1500), dtype=np.uint8)
    stored = write_us_dicom(folder / "large.dcm", pixels, spacing=0.1, patient="US_2", uid_seed="nginx")
    content = stored.read_bytes()
    assert len(content) > 2**20
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--x--\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x', **JSON}
    answer = session.post(f"{address}/dicom-web/studies", data=body, headers=kind, timeout=60)
    assert answer.status_code == 200, answer.text
    (item,) = answer.json()["00081199"]["Value"]
    (place,) = item["00081190"]["Value"]
    assert place.startswith(address)
    accept = {"Accept": 'multipart/related; type="application/dicom"'}
    assert pixels.tobytes() in session.get(place, headers=accept, timeout=60).content
    # More than the server takes is refused before it is sent.
    request = requests.Request("PUT", f"{address}/datastore/label", headers={"Content-Length": str(2**30)})
    assert session.send(session.prepare_request(request), timeout=60).status_code == 413
