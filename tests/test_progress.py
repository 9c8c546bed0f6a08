import os
import signal
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from breastkit.errors import BreastkitError
from breastkit.progress import parallel_map, parallel_results, track


def _square(number):
    return number * number


def _fail_on_three(number):
    if number == 3:
        raise BreastkitError("three.nii is empty; copy it again.")
    return number


def _process(_):
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_keep_the_order(workers):
    assert parallel_map(_square, range(9), "Squaring", workers=workers) == [n * n for n in range(9)]


def test_work_happens_in_other_processes():
    assert os.getpid() not in parallel_map(_process, range(4), "Asking", workers=2)


def _die_of_three(place, number):
    """Is killed at every attempt for 3, at the first for 20, which is not under way with it."""
    first = Path(place, str(number))
    if number == 3 or (number == 20 and not first.exists()):
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_a_killed_worker_costs_the_item_that_kills_it_alone(tmp_path, workers):
    work = partial(_die_of_three, str(tmp_path))
    results = parallel_results(work, range(24), workers=workers, killed=lambda number: -number)
    assert sorted(results) == [(number, -3 if number == 3 else number) for number in range(24)]


def test_a_killed_worker_ends_work_that_expects_none(tmp_path):
    with pytest.raises(BrokenProcessPool):
        parallel_map(partial(_die_of_three, str(tmp_path)), range(5), "Dying", workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_ends_the_work(workers):
    with pytest.raises(BreastkitError, match=r"three\.nii"):
        parallel_map(_fail_on_three, range(9), "Failing", workers=workers)


def test_the_bar_shows_rate_and_end(capsys):
    assert list(track([1, 2], "Counting")) == [1, 2]
    shown = capsys.readouterr().err
    assert "Counting: 100%" in shown
    assert "it/s" in shown or "s/it" in shown
    assert "ends " in shown
