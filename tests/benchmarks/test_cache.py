import pytest

from benchmarks.cache import compare, write_scans


@pytest.mark.slow
def test_the_second_start_finds_every_scan(tmp_path):
    write_scans(tmp_path, (40, 36, 8), 3)
    figures = compare(tmp_path, 32)
    assert figures["hits"] == 1
    assert figures["ratio"] > 1
    # Half-precision images and packed masks of all slices, with the headers of six files.
    assert 3 * 8 * (32 * 32 * 2 + 32 * 32 / 8) <= figures["cache"] * 2**30 < 3 * 8 * 32 * 32 * 2.2 + 6 * 200
    assert all(0.1 < peak < 4 for peak in figures["peaks"])
