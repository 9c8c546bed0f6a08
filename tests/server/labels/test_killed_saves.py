"""A server that is killed while labels are saved, at whatever moment, loses none that it said it has."""

import json
import os
import random
import signal
import threading
import time

import cv2
import numpy as np
import pytest
import requests
from tests.apps.server_process import free_port
from tests.server.labels.restarted_server import RestartedServer

from breastkit.atomic import TEMPORARY_PREFIX
from breastkit.images import read_mask, write_png
from breastkit.server.labels.saved_labels import SavedLabels

IMAGES = ("one", "two")
SHAPE = (40, 60)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    rng = np.random.default_rng(0)
    for name in IMAGES:
        write_png(folder / "studies" / f"{name}.png", rng.integers(0, 255, SHAPE, dtype=np.uint8))
    server = RestartedServer(["--studies", str(folder / "studies")], port=free_port(), folder=folder)
    yield server, folder / "studies" / "labels"
    server.close()


def mask_of(number):
    """Returns a mask that no other number has."""
    bits = [number >> place & 1 for place in range(24)]
    found = np.zeros(SHAPE, np.uint8)
    found[5, : len(bits)], found[10:20, 10:20] = bits, 1
    return found


class Annotator(threading.Thread):
    """Saves one label after the other until the server is gone; remembers what it was told is saved."""

    def __init__(self, address, numbers, saved):
        super().__init__()
        self.address, self.numbers, self.saved = address, numbers, saved

    def run(self):
        session = requests.Session()
        for number in self.numbers:
            image = IMAGES[number % 2]
            label = {"label": ("label.png", cv2.imencode(".png", mask_of(number))[1].tobytes())}
            try:
                answer = session.put(f"{self.address}/datastore/label?image={image}", files=label, timeout=60)
            except requests.RequestException:
                return
            assert answer.status_code == 200, answer.text
            self.saved[image, answer.json()["version"]] = number


def check(labels, address, saved):
    """Compares all labels on the disk and the list that the server gives with what it said before it was killed."""
    store = SavedLabels(labels)
    for image in IMAGES:
        versions = {one.version: one for one in store.versions(image)}
        for one in versions.values():
            # Whole, whether it was answered or not.
            assert read_mask(one.path).shape == SHAPE
        told = {version: number for (name, version), number in saved.items() if name == image}
        for version, number in told.items():
            np.testing.assert_array_equal(read_mask(versions[version].path), mask_of(number))
        listed = requests.get(f"{address}/datastore/?output=all").json()["objects"][image]["labels"]
        assert bool(listed) == bool(versions)
        if versions:
            assert store.current(image).version == max(versions)
            current = requests.get(f"{address}/datastore/label?label={image}&tag=final").content
            assert current == versions[max(versions)].path.read_bytes()


def kill_and_restart(server, labels, *, times, seed):
    rng, saved, numbers = random.Random(seed), {}, iter(range(1, 2**24))
    guarded = threading.Lock()

    def shared():
        while True:
            with guarded:
                number = next(numbers)
            yield number

    pid, interrupted = server.start(), 0
    for _ in range(times):
        before = len(saved)
        annotators = [Annotator(server.address, shared(), saved) for _ in range(3)]
        for one in annotators:
            one.start()
        while len(saved) == before:
            assert any(one.is_alive() for one in annotators)
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.5))
        os.kill(pid, signal.SIGKILL)
        assert server.ended() == -signal.SIGKILL
        for one in annotators:
            one.join()
        interrupted += bool(list(labels.rglob(f"{TEMPORARY_PREFIX}*")))
        pid = server.start()
        check(labels, server.address, saved)
    os.kill(pid, signal.SIGINT)
    server.ended()
    audit = [json.loads(line) for line in (labels / ".audit" / "requests.jsonl").read_text().splitlines()]
    # No line of the log is torn, and none that was answered is missing.
    assert sum(one["endpoint"] == "/datastore/label" and one["method"] == "PUT" for one in audit) >= len(saved)
    return len(saved), interrupted


def test_no_label_is_lost_when_the_server_is_killed(server):
    saved, _ = kill_and_restart(*server, times=3, seed=0)
    assert saved >= 3


@pytest.mark.slow
def test_no_label_is_lost_however_often_the_server_is_killed(server):
    saved, interrupted = kill_and_restart(*server, times=40, seed=1)
    assert saved >= 40
    # Some of the moments were in the middle of a file.
    assert interrupted


def test_what_a_killed_server_left_goes_at_the_next_start(tmp_path):
    folder = tmp_path / "final" / "a"
    folder.mkdir(parents=True)
    old, fresh = folder / f"{TEMPORARY_PREFIX}old.png", folder / f"{TEMPORARY_PREFIX}fresh.png"
    for path in (old, fresh):
        path.write_bytes(b"half")
    hour_ago = time.time() - 3600
    os.utime(old, (hour_ago, hour_ago))
    SavedLabels(tmp_path)
    # Another server may be writing the other one.
    assert list(folder.iterdir()) == [fresh]
