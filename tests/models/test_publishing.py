"""A packed bundle is published where MONAI fetches it from, and a dry run says what would be."""

import base64
import hashlib
import json
import re
import shutil
import socket
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from huggingface_hub import constants
from monai.bundle import ConfigParser, download

from breastkit.cli import main
from breastkit.models.publishing import publish_bundle

NAME = "breast_mri_lesion_segmentation"
SHIPPED = Path(__file__).parents[2] / "bundles" / NAME
VERSION = json.loads((SHIPPED / "configs" / "metadata.json").read_text())["version"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The bundle as packed, but for its exports."""
    path = shutil.make_archive(str(tmp_path_factory.mktemp("packed") / NAME), "zip", SHIPPED.parent, NAME)
    return Path(path)


def test_a_model_zoo_is_what_monai_fetches_from(packed, tmp_path):
    zoo = tmp_path / "zoo"
    for _ in range(2):
        assert publish_bundle(str(packed), to=str(zoo)) == f"Published: {zoo.as_uri()}/{NAME}_v{VERSION}.zip"
    publish_bundle(str(packed), to=str(tmp_path / "mirrored"), source="https://zoo.example/models/")
    assert {path.name for path in zoo.iterdir()} == {NAME, f"{NAME}_v{VERSION}.zip", "model_info.json"}
    (listed,) = json.loads((zoo / "model_info.json").read_text()).values()
    assert listed["checksum"] == hashlib.sha1(packed.read_bytes()).hexdigest()
    download(NAME, bundle_dir=str(tmp_path / "elsewhere"), url=listed["source"], progress=False)
    for place in (zoo, tmp_path / "elsewhere"):
        assert (place / NAME / "models/model.pt").read_bytes() == (SHIPPED / "models/model.pt").read_bytes()
    mirrored = json.loads((tmp_path / "mirrored/model_info.json").read_text())
    assert mirrored[f"{NAME}_v{VERSION}"]["source"] == f"https://zoo.example/models/{NAME}_v{VERSION}.zip"


def test_other_bundles_of_a_model_zoo_stay(packed, tmp_path):
    (tmp_path / "model_info.json").write_text('{"other_v1.0.0": {"checksum": "1", "source": "2"}}')
    publish_bundle(str(packed), to=str(tmp_path))
    assert set(ConfigParser.load_config_file(tmp_path / "model_info.json")) == {"other_v1.0.0", f"{NAME}_v{VERSION}"}


@pytest.mark.parametrize("to", ["hf://clinic/outlines", "zoo"])
def test_a_dry_run_publishes_nothing(to, packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    said = publish_bundle(str(packed), to=to, dry_run=True).splitlines()
    with zipfile.ZipFile(packed) as archive:
        expected = {one.filename.partition("/")[2]: one.file_size for one in archive.infolist() if not one.is_dir()}
    listed = {name: int(size.replace(",", "")) for size, name in (line.split() for line in said[:-1])}
    assert listed == expected
    assert said[-1].startswith(f"{NAME}_v{VERSION} to {to}: {len(expected)} files, {sum(expected.values()):,} bytes")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("to", "token", "sentence"),
    [
        ("hf://clinic/outlines", None, r"There is no token for the hub; 'hf auth login' keeps one, or set HF_TOKEN\."),
        ("hf://clinic/outlines", "hf_x", r"hf://clinic/outlines could not be written \(.+\); check the network, .+"),
        ("hf://outlines", "hf_x", r"'outlines' has no owner; write hf://OWNER/REPOSITORY\."),
        ("hf://a/b/c", "hf_x", r"'a/b/c' names no repository of a hub; write hf://OWNER/REPOSITORY\."),
    ],
)
def test_what_the_hub_lacks_is_one_sentence(to, token, sentence, packed, closed_port, monkeypatch, capsys):
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "none")
    monkeypatch.setenv("HF_TOKEN", token or "")
    assert main(["models", "publish", str(packed), "--to", to]) == 1
    assert re.fullmatch(sentence + "\n", capsys.readouterr().err)


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as keeps what it is sent: every file goes into the commit itself."""

    repositories: ClassVar[list] = []
    files: ClassVar[dict[str, bytes]] = {}
    tags: ClassVar[list[str]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        answer, address = {}, f"http://{self.headers['Host']}/clinic/outlines"
        if self.path.endswith("/repos/create"):
            self.repositories.append(json.loads(body))
            answer = {"url": address}
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            answer = {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            self.files.update({one["path"]: base64.b64decode(one["content"]) for one in sent})
            answer = {"commitUrl": f"{address}/commit/1", "commitOid": "1", "success": True}
        elif "/tag/" in self.path:
            self.tags.append(json.loads(body)["tag"])
        self.send_response(200 if self.headers["Authorization"] == "Bearer hf_x" else 401)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield Hub
        server.shutdown()


def test_a_hub_is_sent_every_file_and_the_version(hub, packed, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert main(["models", "publish", str(packed), "--to", "hf://clinic/outlines"]) == 0
    assert capsys.readouterr().out == f"Published: hf://clinic/outlines, version {VERSION}\n"
    (repository,) = hub.repositories
    assert (repository["organization"], repository["name"], repository["visibility"]) == (
        "clinic",
        "outlines",
        "private",
    )
    card = hub.files.pop("README.md").decode()
    assert "library_name: monai\nlicense: apache-2.0\n" in card
    assert hub.files == {str(one.relative_to(SHIPPED)): one.read_bytes() for one in SHIPPED.rglob("*") if one.is_file()}
    assert hub.tags == [VERSION, "latest_version"]


def test_a_token_that_the_hub_does_not_take_is_one_sentence(hub, packed, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    assert main(["models", "publish", str(packed), "--to", "hf://clinic/outlines"]) == 1
    assert re.fullmatch(r"hf://clinic/outlines could not be written \(.*401.*\); .+\n", capsys.readouterr().err)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_packed_bundle_is_refused(content, tmp_path, capsys):
    (tmp_path / "x.zip").write_bytes(content)
    assert main(["models", "publish", str(tmp_path / "x.zip"), "--to", str(tmp_path / "zoo")]) == 1
    assert re.fullmatch(r".+x\.zip is no packed bundle \(.+\); .+\n", capsys.readouterr().err)
    assert not (tmp_path / "zoo").exists()


def test_damaged_weights_are_refused(tmp_path, capsys):
    shutil.copytree(SHIPPED, tmp_path / "bundle" / NAME)
    with (tmp_path / "bundle" / NAME / "models/model.pt").open("ab") as file:
        file.write(b"more")
    packed = shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path / "bundle", NAME)
    assert main(["models", "publish", packed, "--to", str(tmp_path / "zoo")]) == 1
    assert "sha256 differs" in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()
