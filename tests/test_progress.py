import os

import pytest

from breastkit.errors import BreastkitError
from breastkit.progress import parallel_map, track


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
