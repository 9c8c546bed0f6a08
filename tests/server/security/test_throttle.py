"""Wrong passwords slow down whoever sends them, more each time, and lock nobody else out."""

import time

import pytest

from breastkit.server.security.throttle import OF_CLIENT, OF_NAME, Throttle


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def waits(throttle, clock, client, tries):
    """Returns what each wrong try had to wait for before it."""
    found = []
    for _ in range(tries):
        wait = throttle.seconds_to_wait(client, "anna")
        found.append(wait)
        if wait:
            clock[0] += wait
            assert throttle.seconds_to_wait(client, "anna") == 0
    return found


def test_the_wait_grows_to_a_minute(clock):
    throttle = Throttle()
    assert waits(throttle, clock, "a", 11) == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_the_right_password_from_elsewhere_waits_for_seconds_at_most(clock):
    throttle = Throttle()
    for number in range(200):
        throttle.seconds_to_wait(f"10.0.0.{number}", "anna")
        clock[0] += OF_NAME.longest_s
    assert throttle.seconds_to_wait("hers", "anna") == 0
    assert throttle.seconds_to_wait("hers", "anna") <= OF_NAME.longest_s
    assert throttle.seconds_to_wait("another", "bert") == 0


def test_after_the_right_one_and_after_a_while_it_is_forgotten(clock):
    throttle = Throttle()
    waits(throttle, clock, "a", OF_CLIENT.free)
    assert throttle.seconds_to_wait("a", "anna") > 0
    clock[0] += 1000
    assert throttle.seconds_to_wait("a", "anna") == 0
    throttle.succeeded("a", "anna")
    assert waits(throttle, clock, "a", OF_CLIENT.free) == [0] * OF_CLIENT.free
