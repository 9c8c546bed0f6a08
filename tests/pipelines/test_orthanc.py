"""Orthanc, a PACS: it takes every object that is written here and gives it back equal, and forwards studies to us."""

import os
import re
import sys
import time
from pathlib import Path

import pydicom
import pytest
import requests
from tests.apps.server_process import free_port
from tests.dicom.scans import OBLIQUE
from tests.dicomweb.orthanc_process import orthanc_process, upload
from tests.findings.test_dicom_writers import clip_of, mri_of, written, written_clip
from tests.inference.ultrasound_weights import chain_weights

from breastkit.dicomweb.archive import Archive
from breastkit.dicomweb.multipart_related import split_parts

ROOT = Path(__file__).parents[2]
PATIENCE = 180
WHOLE = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with orthanc_process(tmp_path_factory.mktemp("orthanc")) as address:
        yield address


def data_set(file):
    """The bytes of an object after its file meta information, which is the archive's own."""
    length = int.from_bytes(file[140:144], "little")
    return file[144 + length :]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All DICOM objects of an oblique study, of a picture and of a clip, by their folders."""
    folder = tmp_path_factory.mktemp("made")
    found = [written(mri_of(folder / "mri", OBLIQUE), folder / "of_mri", None)]
    for frames in (1, 3):
        (folder / f"us{frames}").mkdir()
        found.append(written_clip(clip_of(folder / f"us{frames}", frames=frames), folder / f"of_us{frames}", None))
    return found


def test_orthanc_gives_back_every_object_as_it_was(orthanc, made, tmp_path):
    place, objects = Archive(orthanc), [path for folder in made for path in sorted(folder.glob("*.dcm"))]
    assert len(objects) >= 6
    for path in objects:
        assert place.store(path).problem == ""
        header = pydicom.dcmread(path)
        where = f"studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}/instances/{header.SOPInstanceUID}"
        answer = requests.get(f"{orthanc}/{where}", headers=WHOLE, timeout=60)
        ((_, given),) = split_parts(answer.headers["content-type"], answer.content)
        assert data_set(given) == data_set(path.read_bytes())
    for folder in made:
        mine = {pydicom.dcmread(path).SOPInstanceUID: path for path in folder.glob("*.dcm")}
        got = tmp_path / folder.parent.name
        place.fetch_study(pydicom.dcmread(next(iter(mine.values()))).StudyInstanceUID, got)
        assert sorted(path.stem for path in got.iterdir()) == sorted(mine)
        for uid, path in mine.items():
            assert data_set((got / f"{uid}.dcm").read_bytes()) == data_set(path.read_bytes())


def test_storing_again_changes_nothing(orthanc, made):
    (path, *_) = sorted(made[0].glob("*.dcm"))
    rest = orthanc.replace("/dicom-web", "")
    assert Archive(orthanc).store(path).problem == ""
    before = requests.get(f"{rest}/statistics", timeout=60).json()["CountInstances"]
    assert Archive(orthanc).store(path).problem == ""
    assert requests.get(f"{rest}/statistics", timeout=60).json()["CountInstances"] == before


def recipe():
    """The script of the docs."""
    text = (ROOT / "tools" / "docs" / "pacs" / "README.md").read_text(encoding="utf-8")
    return re.search(r"^```lua\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]


def program(folder):
    """Writes the command with weights that answer fast, and returns an environment that finds it."""
    weights = " ".join(f"--{name.replace('_', '-')}={value}" for name, value in chain_weights(folder / "w").items())
    (folder / "bin").mkdir()
    script = folder / "bin" / "breastkit"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m breastkit.cli "$@" --no-explanation {weights}\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def test_orthanc_forwards_a_study_to_this_command_once(tmp_path):
    port, results = free_port(), tmp_path / "results"
    results.mkdir()
    script = recipe().replace("127.0.0.1:8042", f"127.0.0.1:{port}").replace("/var/lib/breastkit", str(results))
    (tmp_path / "forward.lua").write_text(script)
    settings = {"LuaScripts": [str(tmp_path / "forward.lua")], "StableAge": 1, "OverwriteInstances": True}
    source = clip_of(tmp_path, frames=1)[0].sources[0]
    uid = str(pydicom.dcmread(source).StudyInstanceUID)
    receipt = results / uid / "run.json"
    with orthanc_process(tmp_path / "orthanc", environment=program(tmp_path), port=port, **settings) as address:
        upload(address, [source])
        end = time.monotonic() + PATIENCE
        while not receipt.exists():
            log = results / "log.txt"
            assert time.monotonic() < end, (
                log.read_text() if log.exists() else (tmp_path / "orthanc/log.txt").read_text()
            )
            time.sleep(0.1)
        at = receipt.stat().st_mtime_ns
        # It becomes stable once more, and says so only then.
        rest = address.replace("/dicom-web", "")
        while [one["IsStable"] for one in requests.get(f"{rest}/studies?expand", timeout=60).json()] != [True]:
            time.sleep(0.1)
        time.sleep(1.5)
        listed = requests.get(f"{address}/studies/{uid}/series", headers={"Accept": "application/dicom+json"}).json()
        assert sorted(one["00080060"]["Value"][0] for one in listed) == ["DOC", "SEG", "SR", "US"]
    assert receipt.stat().st_mtime_ns == at
    assert (results / "log.txt").read_text().count("Fetching") <= 2
