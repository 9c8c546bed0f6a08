"""The container recipe, without a container engine: what it copies is there, and what it starts serves."""

import json
import re
from pathlib import Path

import requests
from tests.apps.server_process import command, free_port

from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.security.users import set_user

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "apps" / "Containerfile").read_text().replace("\\\n", " ")


def words_of(instruction):
    (line,) = re.findall(rf"^{instruction} (\[.*\])$", RECIPE, re.MULTILINE)
    return json.loads(line)


def test_what_it_copies_is_there():
    copied = re.findall(r"^COPY (.+) \S+$", RECIPE, re.MULTILINE)
    assert len(copied) > 3
    for path in (path for line in copied for path in line.split()):
        assert (ROOT / path).exists(), path


def test_what_it_starts_serves(tmp_path):
    places = {name: str(tmp_path / name.strip("/")) for name in ("/studies", "/labels", "/settings/users.json")}
    write_png(tmp_path / "studies" / "us.png", make_us_phantom(5, 1).image)
    words = [*words_of("ENTRYPOINT"), *words_of("CMD")]
    assert words[0] == "breastkit" and set(places) <= set(words)
    (tmp_path / "settings").mkdir()
    set_user(places["/settings/users.json"], "anna", role="annotator", password="draws lesions")
    port = free_port()
    # On loopback, and without loading networks, which takes longer and does not hang on the recipe.
    other = {**places, "0.0.0.0": "127.0.0.1", "8000": str(port)}
    log = tmp_path / "log.txt"
    with command([*(other.get(word, word) for word in words), "--no-models"], port, log=log) as address:
        listed = f"{address}/datastore/?output=all"
        assert requests.get(listed).status_code == 401
        token = requests.post(f"{address}/auth/token", data={"username": "anna", "password": "draws lesions"}).json()
        answer = requests.get(listed, headers={"Authorization": f"Bearer {token['access_token']}"})
        assert list(answer.json()["objects"]) == ["us"]
