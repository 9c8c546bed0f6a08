"""A server that is killed while labels are saved, at whatever moment, loses none that it said it has."""

import itertools
import json
import os
import random
import shutil
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
from breastkit.server.security.users import set_user

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


READERS = ("anna", "eva")
MODEL = "breast_us_lesion_segmentation"


class Reader(threading.Thread):
    """Saves own labels as an annotator who is logged in, until the server is gone."""

    def __init__(self, address, name, numbers, saved):
        super().__init__()
        self.address, self.name_, self.numbers, self.saved = address, name, numbers, saved
        login = {"username": name, "password": f"{name} knows it"}
        token = requests.post(f"{address}/auth/token", data=login, timeout=60).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def save(self, image, number):
        label = {"label": ("label.png", cv2.imencode(".png", mask_of(number))[1].tobytes())}
        url = f"{self.address}/datastore/label?image={image}"
        answer = requests.put(url, files=label, headers=self.headers, timeout=120)
        assert answer.status_code == 200, answer.text
        self.saved[self.name_, image, answer.json()["version"]] = number

    def run(self):
        for number in self.numbers:
            try:
                self.save(IMAGES[number // 2 % 2], number)
            except requests.RequestException:
                return


def check_readings(labels, saved):
    """Compares what is on the disk with what the server said is saved, and the consensus with what it is of."""
    store = SavedLabels(labels)
    for (name, image, version), number in saved.items():
        versions = {one.version: one for one in store.versions(image, f"reader:{name}")}
        np.testing.assert_array_equal(read_mask(versions[version].path), mask_of(number))
        assert {one.info["user"] for one in versions.values()} == {name}
    for image in IMAGES:
        current = {name: store.current(image, f"reader:{name}") for name in READERS}
        final = store.current(image)
        assert final.info["consensus"]["of"] == {name: one.version for name, one in current.items()}
        both = [read_mask(one.path) for one in current.values()]
        np.testing.assert_array_equal(read_mask(final.path), both[0] & both[1])


def two_read_while_a_training_runs(server, folder, *, seconds, kills, seed):
    """Returns how many labels were answered for, and how often the server was killed."""
    for name in READERS:
        set_user(str(folder / "users.json"), name, password=f"{name} knows it")
    labels, rng, saved, killed = folder / "read", random.Random(seed), {}, 0
    server.words[1:-2] = [
        "--studies", str(folder / "studies"), "--labels", str(labels), "--users", str(folder / "users.json"),
        "--double", "1", "--models", str(folder / "models"),
    ]  # fmt: skip
    counters = {name: itertools.count(1 + place, 2) for place, name in enumerate(READERS)}
    pid, end = server.start(), time.monotonic() + seconds
    readers = [Reader(server.address, name, counters[name], saved) for name in READERS]
    for image in IMAGES:
        for reader in readers:
            reader.save(image, next(reader.numbers))
    first = {image: read_mask(SavedLabels(labels).current(image).path) for image in IMAGES}
    options = {"max_epochs": 200, "batch_size": 1}
    started = requests.post(f"{server.address}/train/{MODEL}", json=options, headers=readers[0].headers, timeout=300)
    assert started.status_code == 200, started.text
    # It learns from what both drew, as it was when it began.
    learnt = sorted((labels / ".training" / "000001" / "cases" / "images").glob("*_label.png"))
    assert [read_mask(path).tolist() for path in learnt] == [first[image].tolist() for image in IMAGES]
    while killed < kills or time.monotonic() < end:
        before = len(saved)
        for one in readers:
            one.start()
        while len(saved) < before + 2:
            assert any(one.is_alive() for one in readers)
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 1))
        os.kill(pid, signal.SIGKILL)
        assert server.ended() == -signal.SIGKILL
        killed += 1
        for one in readers:
            one.join()
        pid = server.start()
        check_readings(labels, saved)
        readers = [Reader(server.address, name, counters[name], saved) for name in READERS]
        asked = {"headers": readers[0].headers, "timeout": 120}
        # The training goes on without the server, or has ended; one that has is started again.
        state = requests.get(f"{server.address}/train/", **asked).json()
        assert state["status"] in ("RUNNING", "DONE"), state
        if state["status"] == "DONE" and time.monotonic() < end:
            assert requests.post(f"{server.address}/train/{MODEL}", json=options, **asked).status_code == 200
    requests.delete(f"{server.address}/train/", **asked)
    os.kill(pid, signal.SIGINT)
    server.ended()
    return len(saved), killed


def test_two_readers_lose_nothing_when_the_server_is_killed(server):
    saved, killed = two_read_while_a_training_runs(*folder_of(server), seconds=0, kills=1, seed=2)
    assert (saved >= 6, killed) == (True, 1)


@pytest.mark.slow
def test_two_readers_and_a_training_for_five_minutes(server, tmp_path):
    saved, killed = two_read_while_a_training_runs(*folder_of(server, tmp_path), seconds=300, kills=2, seed=3)
    assert saved >= 50 and killed >= 5


def folder_of(server, folder=None):
    program, labels = server
    if folder is None:
        return program, labels.parents[1]
    shutil.copytree(labels.parent, folder / "studies", ignore=shutil.ignore_patterns("labels"))
    return program, folder


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
