"""Finding benchmarks and running one by name; what each measures is its own business."""

import pytest

from benchmarks.run import available_benchmarks, run_benchmarks
from breastkit.errors import UsageError


def test_every_benchmark_says_what_it_measures():
    available = available_benchmarks()
    assert "letterbox" in available
    assert "run" not in available
    assert all(available.values())


def test_the_list_names_each():
    assert [line.partition(":")[0] for line in run_benchmarks(["list"]).splitlines()] == list(available_benchmarks())


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UsageError, match="no benchmark 'leterbox'; did you mean letterbox\\?"):
        run_benchmarks(["leterbox"])
