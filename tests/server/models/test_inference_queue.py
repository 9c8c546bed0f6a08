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
        self.start(lambda: self.queue.run(self.hold, who="first"))
        assert self.running.wait(PATIENCE)

    def hold(self):
        self.running.set()
        assert self.let_go.wait(PATIENCE)

    def start(self, target):
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self.threads.append(thread)

    def ask(self, who):
        """Asks in a thread, and returns when it waits."""
        self.wait_after(lambda: self.queue.run(lambda: self.ran.append(who), who=who))

    def ask_together(self, who, function, item, answers):
        """Likewise, for what runs with others."""

        def ask():
            try:
                answers[item] = self.queue.run_together(function, item, who=who)
            except ZeroDivisionError as error:
                answers[item] = error

        self.wait_after(ask)

    def wait_after(self, target):
        before = self.waiting()
        self.start(target)
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


class Shares:
    """Divides a hundred by each of some numbers, and remembers which came together."""

    def __init__(self):
        self.calls = []

    def __call__(self, numbers):
        self.calls.append(list(numbers))
        return [100 // number for number in numbers]


def test_what_waits_for_the_same_runs_together_and_what_waits_for_something_else_keeps_its_turn():
    asking, answers, small, other = Asking(), {}, Shares(), Shares()
    asking.ask_together("anna", small, 1, answers)
    asking.ask_together("anna", small, 2, answers)
    asking.ask("bert")
    asking.ask_together("bert", small, 4, answers)
    asking.ask_together("carl", small, 5, answers)
    asking.ask_together("dora", other, 10, answers)
    assert asking.end() == ["bert"]
    # Of Bert something else comes first, so that what he asks for small is not among those of others.
    assert small.calls == [[1, 5, 2], [4]] and other.calls == [[10]]
    assert answers == {1: 100, 2: 50, 4: 25, 5: 20, 10: 10}


def test_no_more_than_eight_run_together():
    asking, answers, small = Asking(), {}, Shares()
    for number in range(1, 12):
        asking.ask_together(f"user {number}", small, number, answers)
    asking.end()
    assert list(map(len, small.calls)) == [8, 3] and len(answers) == 11


def test_what_fails_does_so_alone():
    asking, answers, small = Asking(), {}, Shares()
    for number in (1, 0, 2):
        asking.ask_together("anna", small, number, answers)
    asking.end()
    assert isinstance(answers.pop(0), ZeroDivisionError)
    assert answers == {1: 100, 2: 50}
    assert asking.queue.run(lambda: "free again") == "free again"
