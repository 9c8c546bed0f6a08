"""One inference at a time, and everybody in turn."""

import threading
import time

import pytest

from breastkit.server.models.inference_queue import BusyError, InferenceQueue

PATIENCE = 30


class Asking:
    """A queue whose first inference runs until it is let go, and what was run meanwhile."""

    def __init__(self, **options):
        self.queue, self.ran, self.threads = InferenceQueue(**options), [], []
        self.let_go, self.running = threading.Event(), threading.Event()
        self.start("first", self.hold)
        assert self.running.wait(PATIENCE)

    def hold(self):
        self.running.set()
        assert self.let_go.wait(PATIENCE)

    def start(self, who, function):
        thread = threading.Thread(target=lambda: self.queue.run(function, who=who), daemon=True)
        thread.start()
        self.threads.append(thread)

    def ask(self, who):
        """Asks in a thread, and returns when it waits."""
        before = self.waiting()
        self.start(who, lambda: self.ran.append(who))
        end = time.monotonic() + PATIENCE
        while self.waiting() == before:
            assert time.monotonic() < end
            time.sleep(0.001)

    def waiting(self):
        return sum(map(len, self.queue._queues.values()))

    def end(self):
        self.let_go.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        return self.ran


def test_who_asks_for_many_keeps_nobody_waiting():
    asking = Asking()
    for who in ("anna", "anna", "anna", "anna", "bert", "bert", "carl"):
        asking.ask(who)
    assert asking.end() == ["anna", "bert", "carl", "anna", "bert", "anna", "anna"]


def test_too_many_of_one_user_are_asked_to_come_back_and_others_are_not():
    asking = Asking(waiting=2)
    for who in ("anna", "anna"):
        asking.ask(who)
    with pytest.raises(BusyError) as busy:
        asking.queue.run(lambda: None, who="anna")
    assert busy.value.retry_after == 20
    asking.ask("bert")
    assert sorted(asking.end()) == ["anna", "anna", "bert"]


def test_too_many_of_all_are_asked_to_come_back():
    asking = Asking(of_all=2)
    for who in ("anna", "bert"):
        asking.ask(who)
    with pytest.raises(BusyError):
        asking.queue.run(lambda: None, who="carl")
    asking.end()
    assert asking.queue.run(lambda: "free again", who="carl") == "free again"


def test_an_error_ends_a_turn():
    queue = InferenceQueue()
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 // 0)
    assert queue.run(lambda: 1) == 1
