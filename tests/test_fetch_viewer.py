"""The set-up's viewer: what is kept of npm's package, and what happens without it or with another one."""

import base64
import hashlib
import io
import runpy
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tools" / "fetch_viewer.py"
FILES = {
    "package/dist/index.html": b"page",
    "package/dist/app.bundle.1.js": b"script",
    "package/dist/app.bundle.1.js.map": b"map",
    "package/dist/ort/ort.wasm": b"network",
    "package/dist/assets/icon.png": b"icon",
    "package/package.json": b"{}",
    "package/LICENSE": b"MIT",
}


@pytest.fixture
def script(tmp_path):
    found = runpy.run_path(str(SCRIPT), run_name="fetch_viewer")
    found["main"].__globals__["PLACE"] = tmp_path / "share" / "ohif"
    return found["main"].__globals__


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "ohif-app.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def kept(place):
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def test_what_is_served_is_kept_and_the_rest_is_not(script, package):
    script["SHA512"] = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    script["unpack"](package, script["PLACE"])
    assert kept(script["PLACE"]) == {"index.html", "app.bundle.1.js", "assets/icon.png", "LICENSE", "VERSION"}
    # What is there already is not fetched again.
    script["download"] = lambda folder: pytest.fail("it was fetched again")
    assert script["main"]() == 0
    # And nothing half-made lies beside it.
    assert [path.name for path in script["PLACE"].parent.iterdir()] == ["ohif"]


def test_another_package_than_the_one_known_is_refused(script, package):
    with pytest.raises(ValueError, match="has not the hash it is known by"):
        script["unpack"](package, script["PLACE"])
    assert not script["PLACE"].exists()


def test_without_a_registry_it_says_what_is_missing_and_goes_on(script, monkeypatch, capsys):
    script["npm"] = lambda: None
    assert script["main"]() == 0
    assert "the annotation server shows no viewer and says so" in capsys.readouterr().out
