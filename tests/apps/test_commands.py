"""Both commands that start the server, as a user types them."""

import numpy as np
import pytest
import requests
from tests.apps.server_process import ROOT, command, free_port, wait_for_line

from breastkit.cli import main
from breastkit.images import write_png


@pytest.fixture
def studies(tmp_path):
    rng = np.random.default_rng(0)
    write_png(tmp_path / "studies" / "us.png", rng.integers(0, 255, (40, 60), dtype=np.uint8))
    return tmp_path / "studies"


def check(address, studies):
    info = requests.get(f"{address}/info/").json()
    assert "breast_us_lesion_segmentation" in info["models"]
    assert info["datastore"]["total"] == 1
    # By another name than this machine's, nobody is answered: that is how pages of the internet would come.
    assert requests.get(f"{address}/info/", headers={"Host": "evil.example"}).status_code == 403
    # Nobody on this machine is believed to ask for somebody else, unless it is the proxy that was named.
    assert requests.get(f"{address}/info/", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 200
    asked = (studies / "labels" / ".audit" / "requests.jsonl").read_text()
    assert "127.0.0.1" in asked and "192.0.2.7" not in asked


def test_breastkit_serve(studies, tmp_path):
    port, log = free_port(), tmp_path / "log"
    with command(["breastkit", "serve", "--studies", str(studies), "--port", str(port)], port, log=log) as address:
        check(address, studies)
        wait_for_line(f"Ready: {address}/", log)


def test_the_stock_command_with_our_server(studies, tmp_path):
    port = free_port()
    words = ["monailabel", "start_server", "--app", str(ROOT / "apps" / "breast_monailabel"), "--studies", str(studies)]
    words += ["--host", "127.0.0.1", "--port", str(port), "--uvicorn_app", "breastkit.server.app:app"]
    with command(words, port, log=tmp_path / "log") as address:
        check(address, studies)


def test_others_need_users(studies, capsys):
    assert main(["serve", "--studies", str(studies), "--host", "0.0.0.0", "--port", str(free_port())]) == 1
    assert "give --users" in capsys.readouterr().err
