"""What is said to a server that goes away and comes back."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from mlflow.exceptions import MlflowException
from tests.apps.server_process import free_port

from breastkit.errors import BreastkitError
from breastkit.training import outbox
from breastkit.training.outbox import Outbox


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_words):
        """Says nothing."""


@contextmanager
def server(port):
    listening = HTTPServer(("127.0.0.1", port), Healthy)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(outbox, "_ASKED_EVERY", 0.0)
    return free_port()


def test_what_was_missed_is_said_in_its_order(port):
    box, heard = Outbox(f"http://127.0.0.1:{port}"), []
    with server(port):
        box.say(lambda: heard.append(1))
        assert heard == [1]
    for number in (2, 3):
        box.say(lambda number=number: heard.append(number))
    assert heard == [1] and not box.answers()
    with server(port):
        box.say(lambda: heard.append(4))
        assert heard == [1, 2, 3, 4]
        box.deliver()
    assert heard == [1, 2, 3, 4]


def test_a_call_that_broke_off_is_made_again(port):
    box, tries, heard = Outbox(f"http://127.0.0.1:{port}"), [], []

    def call():
        tries.append(1)
        if len(tries) == 1:
            gone.__exit__(None, None, None)
            raise MlflowException("connection refused")
        heard.append("said")

    gone = server(port)
    gone.__enter__()
    box.say(call)
    assert heard == []
    with server(port):
        box.deliver()
    assert heard == ["said"] and len(tries) == 2


def test_what_the_server_does_not_want_is_an_error(port):
    def call():
        raise MlflowException("no such run")

    with server(port), pytest.raises(MlflowException, match="no such run"):
        Outbox(f"http://127.0.0.1:{port}").say(call)


def test_a_server_that_stays_away_is_waited_for_and_then_named(port):
    box = Outbox(f"http://127.0.0.1:{port}", patience=0.0)
    box.say(lambda: None)
    with pytest.raises(BreastkitError, match="has not come back, and 1 entries of the run are lost to it"):
        box.deliver()
