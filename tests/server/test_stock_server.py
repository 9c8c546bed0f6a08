"""MONAI Label's own server, for comparison: the attacks that fail here do what they are meant to there.

A test that fails says that MONAI Label has closed a hole: then there is one reason less for a server of our own.
"""

import os
import subprocess
import sys
import time

import pytest
import requests
from tests.apps.server_process import free_port
from tests.server.attacks import picture, png_of, send

from breastkit.images import write_png

pytestmark = pytest.mark.slow
_PATIENCE = 300
_APP = """
from monailabel.interfaces.app import MONAILabelApp

class Plain(MONAILabelApp):
    def __init__(self, app_dir, studies, conf):
        super().__init__(app_dir, studies, conf, name="plain")
"""
_PROGRAM = """
import sys, uvicorn
from breastkit.server.monailabel_fixes import prepare
prepare()
from monailabel.app import app
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """Address and folder of a server with the smallest app, kept from the network and from the home folder."""
    place = tmp_path_factory.mktemp("stock")
    write_png(place / "store" / "studies" / "us.png", picture())
    (place / "app").mkdir()
    (place / "app" / "main.py").write_text(_APP)
    environment = {
        **os.environ,
        "HOME": str(place),
        "MONAI_LABEL_APP_DIR": str(place / "app"),
        "MONAI_LABEL_STUDIES": str(place / "store" / "studies"),
        "MONAI_LABEL_SESSION_PATH": str(place / "sessions"),
        "MONAI_LABEL_DATASTORE_AUTO_RELOAD": "false",
    }
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(port)], cwd=place, env=environment, stdout=log, stderr=log
        )
    try:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            assert process.poll() is None, (place / "log").read_text()
            try:
                if requests.get(f"{address}/info/", timeout=60).status_code == 200:
                    break
            except requests.RequestException:
                time.sleep(0.2)
        yield address, place
    finally:
        process.terminate()
        process.wait(60)


def test_an_image_is_stored_elsewhere(stock):
    address, place = stock
    assert send("image stored elsewhere", address).status_code == 200
    assert (place / "store" / "x.png").read_bytes() == png_of(picture())


def test_a_label_is_stored_elsewhere_whatever_it_is(stock):
    address, place = stock
    before = set(place.rglob("*"))
    answer = requests.put(
        f"{address}/datastore/label?image=us&tag=../../../elsewhere", files={"label": ("l.sh", b"#!/bin/sh")}
    )
    assert answer.status_code == 200
    (written,) = [path for path in set(place.rglob("*")) - before if path.suffix == ".sh"]
    assert not written.is_relative_to(place / "store")
    assert written.read_bytes() == b"#!/bin/sh"


def test_any_site_reads_the_answers_as_who_is_logged_in(stock):
    address, _ = stock
    answer = requests.get(f"{address}/info/", headers={"Origin": "https://evil.example", "Cookie": "a=b"})
    assert answer.headers["access-control-allow-origin"] == "https://evil.example"
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_anybody_reloads_the_app(stock):
    assert requests.post(f"{stock[0]}/reload").status_code == 200


def test_a_name_of_the_internet_leads_to_it(stock):
    assert requests.get(f"{stock[0]}/info/", headers={"Host": "evil.example"}).status_code == 200
