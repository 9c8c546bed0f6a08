"""Clients that ask too often, too slowly or for too much are refused, and others get their answers."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import requests
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from tests.server.served_app import listening

from breastkit.server.security import request_limits
from breastkit.server.security.connection_times import TimedConnection
from breastkit.server.security.request_limits import BodyLimits, Limits, Rate, RateLimits

# Long enough for a machine that does much else, short enough to wait for.
SOON, PATIENCE = 1.0, 60
ROOT = Path(__file__).parents[3]
MEGABYTE = 2**20
HOST = b" HTTP/1.1\r\nHost: x\r\n"
HEAD = b"POST /count" + HOST + b"Content-Length: 100\r\n\r\n"


def application(limits, *, working=None):
    app = FastAPI()

    @app.post("/count")
    async def count(request: Request):
        body = await request.body()
        return len(body)

    @app.get("/quick")
    def quick():
        return "here"

    @app.post("/login")
    async def login(request: Request):
        await request.body()
        return "here"

    @app.post("/work")
    async def work(request: Request):
        await request.body()
        working.release()
        while working.ends.locked():
            await asyncio.sleep(0.01)
        return "done"

    @app.get("/much")
    def much():
        return StreamingResponse(bytes(MEGABYTE) for _ in range(64))

    return RateLimits(BodyLimits(app, limits=limits), limits=limits)


def connected(address):
    place = urlsplit(address)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE)


def test_who_asks_too_often_is_asked_to_wait():
    with listening(application(Limits(requests_per_minute=30))) as address:
        answers = [requests.get(f"{address}/quick")]
        # On a slow machine some more are allowed meanwhile.
        while answers[-1].status_code == 200 and len(answers) < 500:
            answers.append(requests.get(f"{address}/quick"))
    assert len(answers) > 30
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 2


def test_logins_have_a_rate_of_their_own_and_small_bodies(monkeypatch):
    # Nothing is allowed anew, however slowly the machine asks.
    monkeypatch.setattr(request_limits, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    with listening(application(Limits(logins_per_minute=3))) as address:
        large = requests.post(f"{address}/login", data=bytes(2**15))
        logins = [requests.post(f"{address}/login", data={"username": "a"}).status_code for _ in range(4)]
        other = requests.get(f"{address}/quick").status_code
    assert large.status_code == 413
    assert "16 KiB" in large.json()["detail"]
    # The large one counted.
    assert logins == [200, 200, 429, 429]
    assert other == 200


def test_a_rate_recovers_and_is_of_one_client_alone(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rate = Rate(60)
    assert [rate.seconds_to_wait("a") for _ in range(60)] == [0.0] * 60
    assert rate.seconds_to_wait("a") == pytest.approx(1.0)
    assert rate.seconds_to_wait("b") == 0
    now[0] += 2.5
    assert [rate.seconds_to_wait("a") > 0 for _ in range(3)] == [False, False, True]


def test_the_table_of_clients_does_not_grow():
    rate = Rate(10)
    for number in range(30_000):
        rate.seconds_to_wait(str(number))
    assert len(rate._left) == 10_000
    assert "29999" in rate._left


def test_a_body_that_drips_is_cut_off_and_others_are_answered():
    with listening(application(Limits(seconds_to_send=SOON))) as address, connected(address) as slow:
        slow.sendall(HEAD)
        stop = threading.Event()

        def drip():
            while not stop.wait(0.1):
                try:
                    slow.sendall(b"x")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert requests.get(f"{address}/quick").status_code == 200
            answer = slow.recv(4096)
        finally:
            stop.set()
            dripping.join()
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_may_take_as_long_as_its_size_allows():
    parts = [bytes(2**16)] * 4

    def slowly():
        for part in parts:
            yield part
            time.sleep(SOON)

    # All parts together take longer than one may; each allows two seconds more.
    limits = Limits(seconds_to_send=3 * SOON, slowest=2**15)
    with listening(application(limits)) as address:
        answer = requests.post(f"{address}/count", data=slowly())
    assert (answer.status_code, answer.json()) == (200, 4 * 2**16)


def test_a_client_that_hangs_up_is_no_error(caplog):
    with listening(application(Limits())) as address:
        with connected(address) as client:
            client.sendall(HEAD + b"half")
        assert requests.get(f"{address}/quick").status_code == 200
    assert not [one for one in caplog.records if "Exception" in one.getMessage()]


@pytest.mark.parametrize("length", [b"-1", b"1e9", b"9" * 30, b"9" * 5000, b"1, 2", b"\xb2"])
def test_a_length_that_is_none_is_refused(length):
    with listening(application(Limits())) as address, connected(address) as client:
        client.sendall(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n")
        assert client.recv(4096).split()[1] in (b"400", b"413")


class Working(threading.Semaphore):
    """Counts the uploads at work, which go on until they may end."""

    def __init__(self):
        super().__init__(0)
        self.ends = threading.Lock()


def test_large_uploads_wait_for_their_turn_and_small_requests_do_not():
    working, limits = Working(), Limits(uploads=2, seconds_for_turn=SOON)
    with listening(application(limits, working=working)) as address, ThreadPoolExecutor(3) as pool:
        working.ends.acquire()
        try:
            two = [pool.submit(requests.post, f"{address}/work", data=bytes(2 * MEGABYTE)) for _ in range(2)]
            assert all(working.acquire(timeout=PATIENCE) for _ in two)
            third = requests.post(f"{address}/work", data=bytes(2 * MEGABYTE))
            small = requests.post(f"{address}/count", data=b"small")
        finally:
            working.ends.release()
        assert [one.result().status_code for one in two] == [200, 200]
        assert (third.status_code, small.status_code) == (503, 200)
        assert int(third.headers["Retry-After"]) >= 1
        # Their turns are given back.
        assert requests.post(f"{address}/work", data=bytes(2 * MEGABYTE)).status_code == 200


def test_logins_that_drip_take_nobodys_turn_and_are_cut_off_soon():
    """Sent in chunks they do not say how large they are, and anybody may send them."""
    head = b"POST /login" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    with listening(application(Limits(uploads=2, seconds_for_turn=SOON, seconds_to_log_in=SOON))) as address:
        slow = [connected(address) for _ in range(4)]
        for connection in slow:
            connection.sendall(head)
        time.sleep(0.2)
        assert requests.post(f"{address}/count", data=bytes(2 * MEGABYTE)).status_code == 200
        assert all(b" 408 " in connection.recv(65536) for connection in slow)
        for connection in slow:
            connection.close()


class Hasty(TimedConnection):
    seconds_to_ask = SOON
    seconds_to_read = SOON


def closed(connection):
    """Waits until the other side has closed the connection; fails if it takes too long."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\nG"]
)
def test_connections_without_a_request_end(sent):
    class Watched(Hasty):
        pass

    with listening(application(Limits()), http=Watched) as address, connected(address) as silent:
        silent.sendall(sent)
        assert closed(silent)
        # Who asks now may be slow for other reasons.
        Watched.seconds_to_ask = PATIENCE
        assert requests.get(f"{address}/quick").status_code == 200


def test_a_client_that_reads_nothing_is_left():
    left = threading.Event()

    class Watched(Hasty):
        def connection_lost(self, exc):
            super().connection_lost(exc)
            left.set()

    with listening(application(Limits()), http=Watched) as address:
        with connected(address) as client:
            client.sendall(b"GET /much" + HOST + b"\r\n")
            # It is left before it has read a thing.
            assert left.wait(PATIENCE)
        Watched.seconds_to_ask = Watched.seconds_to_read = PATIENCE
        assert len(requests.get(f"{address}/much").content) == 64 * MEGABYTE


TIMED = f"""
import socket
from tests.server.served_app import listening
from breastkit.server.security.connection_times import TimedConnection, time_connections

async def answer(scope, receive, send):
    raise SystemExit("nobody asks")

time_connections()
TimedConnection.seconds_to_ask = {SOON}
with listening(answer, lifespan="off") as address:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout={PATIENCE}) as silent:
        assert silent.recv(1) == b""
"""


def test_every_connection_of_uvicorn_is_timed():
    """In a process of its own: Python gives a class its way to make objects back only by half."""
    subprocess.run([sys.executable, "-c", TIMED], check=True, cwd=ROOT, timeout=5 * PATIENCE)
