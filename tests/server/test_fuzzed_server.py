"""Requests and files that nobody would send: refused with a sentence, never an error of the server, nothing written.

What is asked for is made by schemathesis from the description of the interface, the same at every run; files are whole
ones with bytes missing or turned around.
"""

import gzip
import hashlib
import io
import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path

import nibabel
import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from tests.dicom.scans import write_mask, write_scan
from tests.server.hostile_inputs import AFFINE, SHAPE, VOLUME, HostileInputs

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_nifti, write_png

ROOT = Path(__file__).parents[2]
FEW = 3
FEW_INPUTS, MANY_INPUTS = 300, 10_000
TAKES = [("files", path) for path in ("/datastore/label", "/datastore/image", "/session/", "/activelearning/first")]
TAKES += [("dicom", path) for path in ("/datastore/label", "/dicom-web/studies")]
# Of what thousands of inputs leave: the index knows two thousand objects more, of 3 KB each.
MAY_GROW_MIB = 40
# The servers have a process of their own, so that their memory is theirs alone.
SERVING = """
import sys
from contextlib import ExitStack
from tests.server.served_app import served
from breastkit.server.heaps import share_heaps

share_heaps()
with ExitStack() as running:
    for kind in ("files", "dicom"):
        conf = {"labels": f"{kind}_labels", "models": "models"}
        print(running.enter_context(served(kind, conf=conf))[0], flush=True)
    sys.stdin.read()
"""
amounts = pytest.mark.parametrize("amount", [FEW, pytest.param(40 * FEW, marks=pytest.mark.slow)])


def fingerprints(place, *, but=()):
    """Returns what is in a folder, except in some of its folders."""
    return {
        path.relative_to(place): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in place.rglob("*")
        if not any(path == one or one in path.parents for one in but)
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Studies of both kinds, with something beside them, and a folder for temporary files."""
    place = tmp_path_factory.mktemp("fuzzed")
    rng = np.random.default_rng(0)
    write_png(place / "files" / "us.png", rng.integers(0, 255, SHAPE, dtype=np.uint8))
    write_nifti(place / "files" / "mr.nii.gz", rng.integers(0, 900, VOLUME).astype(np.int16), AFFINE)
    picture = rng.integers(0, 255, SHAPE, dtype=np.uint8)
    write_us_dicom(place / "dicom" / "us.dcm", picture, spacing=0.1, patient="US", uid_seed="fuzz")
    write_scan(place / "dicom" / "mr", AFFINE, shape=VOLUME)
    (place / "secret.txt").write_text("not for clients")
    (place / "temporary").mkdir()
    return place


class Servers:
    """A server over files and one over DICOM, in one process.

    Args:
        place: where they work.
        log: for what they say.

    Attributes:
        addresses: of both, by kind.
        folders: that they may write to.
    """

    def __init__(self, place, log):
        self.folders = tuple(place / f"{kind}_labels" for kind in ("files", "dicom"))
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tools", "TMPDIR": str(place / "temporary")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with log.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVING], cwd=place, env=environment, stderr=said, **pipes
            )
        self.addresses = {kind: self.process.stdout.readline().strip() for kind in ("files", "dicom")}
        assert all(self.addresses.values()), log.read_text()

    def memory(self):
        """Returns how many MiB are the process's own, files left out that it has mapped."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) // 1024

    def close(self):
        """Ends both servers."""
        self.process.communicate(timeout=120)


@pytest.fixture(scope="module")
def servers(place, tmp_path_factory):
    log = tmp_path_factory.mktemp("said") / "servers.log"
    running = Servers(place, log)
    yield running
    running.close()
    assert running.process.returncode == 0, log.read_text()[-3000:]


@pytest.fixture
def nothing_else_is_written(place, servers):
    """Only the folders of labels may change, and temporary files are gone."""
    before = fingerprints(place, but=servers.folders)
    yield
    assert fingerprints(place, but=servers.folders) == before


def is_an_answer(response, sent=""):
    assert response.status_code < 500 or response.status_code == 503, (response.text[:500], str(sent)[:2000])
    assert "not for clients" not in response.text
    assert "Traceback" not in response.text


def fuzz(schema, mode, amount):
    """Sends so many requests to every endpoint of a description."""
    for result in schema.get_all_operations():
        operation = result.ok()

        @seed(7)
        @settings(
            max_examples=amount,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            is_an_answer(case.call(timeout=120))

        # What takes any value at all cannot be asked wrongly.
        with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
            check()


@amounts
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["meant", "not meant"])
@pytest.mark.parametrize("which", ["files", pytest.param("dicom", marks=pytest.mark.slow), "DICOMweb"])
@pytest.mark.usefixtures("nothing_else_is_written")
def test_requests_from_the_description(servers, which, mode, amount):
    base = servers.addresses["dicom"] + "/dicom-web" if which == "DICOMweb" else servers.addresses[which]
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    # The store, mounted, calls its place a path of the server.
    schema.config.update(base_url=base)
    fuzz(schema, mode, amount)
    for address in servers.addresses.values():
        assert requests.get(f"{address}/info/").status_code == 200


@pytest.fixture(scope="module")
def segmentations(place):
    """Segmentations that fit what they were drawn on: the picture and the series of the DICOM server."""
    mask = np.zeros(VOLUME, np.uint8)
    mask[4:9, 5:9, 2:4] = 1
    paths = [
        write_mask(place / "seg_mr.dcm", place / "dicom" / "mr", mask),
        write_mask(place / "seg_us.dcm", place / "dicom" / "us.dcm", np.eye(*SHAPE, dtype=np.uint8)),
    ]
    return [path.read_bytes() for path in paths]


def send(addresses, one):
    """Sends a hostile request, looks at what it may have stored, and returns the first status."""
    answer = requests.request(one.method, addresses[one.server] + one.path, timeout=120, **one.options)
    is_an_answer(answer, one)
    if one.path == "/session/" and answer.status_code == 200:
        requests.delete(f"{addresses[one.server]}/session/{answer.json()['session_id']}")
    for path in one.looks:
        is_an_answer(requests.get(addresses[one.server] + path, timeout=120), (path, one))
    return answer.status_code


@pytest.mark.parametrize("amount", [FEW_INPUTS, pytest.param(MANY_INPUTS, marks=pytest.mark.slow)])
def test_hostile_inputs(servers, segmentations, place, record_property, amount):
    addresses, apart = servers.addresses, (*servers.folders, place / "temporary")
    before = fingerprints(place, but=apart)
    dicom = requests.get(f"{addresses['dicom']}/datastore/?output=all").json()["objects"]
    series = {name: one["image"]["info"]["Modality"] for name, one in dicom.items()}
    hostile = HostileInputs(amount, (place / "dicom" / "us.dcm").read_bytes(), segmentations, series)
    statuses, memory = Counter(), []
    for number, one in enumerate(islice(hostile, amount)):
        statuses[one.server, one.path.partition("?")[0], send(addresses, one)] += 1
        if number % (amount // 10) == 0:
            memory.append(servers.memory())
    record_property("statuses", statuses.most_common())
    record_property("memory", memory)
    assert fingerprints(place, but=apart) == before
    assert not list((place / "temporary").glob("breastkit-temporary-request-*"))
    # Of every kind something is taken, or nothing behind the first check was tried.
    for server, path in TAKES:
        # Of few inputs none may be an image that is whole and well named.
        few = amount != MANY_INPUTS and path == "/datastore/image"
        assert few or statuses[server, path, 200], (server, path, statuses)
    # A label that fits the grid of a DICOM image is stored as a segmentation too, as is one that a viewer stores.
    assert list((servers.folders[1] / "dicom").rglob("*.dcm"))
    if amount == MANY_INPUTS:
        assert any(status == 200 for _, path, status in statuses if path.startswith("/infer/")), statuses
        # After a third all code is loaded and every cache filled; the index of what is stored goes on growing.
        assert memory[-1] - memory[3] < MAY_GROW_MIB, str(memory)
    for address in addresses.values():
        assert requests.get(f"{address}/info/").status_code == 200
        assert requests.get(f"{address}/").status_code == 200
    check_labels(addresses["files"])


def check_labels(address):
    """Every label that was taken lies on the grid of its image."""
    for image, one in requests.get(f"{address}/datastore/?output=all").json()["objects"].items():
        if "final" in one["labels"]:
            content = requests.get(f"{address}/datastore/label", params={"label": image}).content
            if image == "mr":
                assert nibabel.Nifti1Image.from_bytes(gzip.decompress(content)).shape == VOLUME
            else:
                from PIL import Image

                assert Image.open(io.BytesIO(content)).size == SHAPE[::-1]
