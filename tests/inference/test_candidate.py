import numpy as np
import pytest

from breastkit.inference import find_candidate


@pytest.fixture
def scan():
    return np.random.default_rng(0).integers(0, 50, (30, 24, 16)).astype(np.int16)


def box(shape, *ranges):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*bounds) for bounds in ranges)] = True
    return mask


def test_the_largest_bright_piece_inside_the_mask_is_found(scan):
    breast = box(scan.shape, (5, 25), (4, 20), (2, 14))
    lesion = box(scan.shape, (10, 14), (8, 11), (5, 8))
    smaller = box(scan.shape, (20, 22), (15, 17), (10, 12))
    outside = box(scan.shape, (0, 5), (0, 24), (0, 16))
    scan[lesion], scan[smaller], scan[outside] = 500, 900, 1000
    np.testing.assert_array_equal(find_candidate(scan, breast, percentile=98), lesion)


def test_pieces_that_touch_at_a_corner_are_one(scan):
    scan[:] = 10
    piece = box(scan.shape, (10, 12), (10, 12), (5, 7)) | box(scan.shape, (12, 14), (12, 14), (7, 9))
    scan[piece] = 100
    np.testing.assert_array_equal(find_candidate(scan, np.ones(scan.shape), percentile=98), piece)


def test_the_percentile_is_of_the_mask_alone_and_strict(scan):
    breast = box(scan.shape, (0, 10), (0, 10), (0, 1))
    scan[:] = 1000
    scan[:10, :10, 0] = np.arange(100).reshape(10, 10)
    assert set(scan[find_candidate(scan, breast, percentile=97)]) == {97, 98, 99}


def test_where_there_is_nothing_nothing_is_found(scan):
    assert not find_candidate(scan, np.zeros(scan.shape)).any()
    assert not find_candidate(np.full(scan.shape, 7), np.ones(scan.shape)).any()


def test_wrong_arguments_are_named(scan):
    with pytest.raises(ValueError, match="one shape"):
        find_candidate(scan, np.ones((3, 3, 3)))
    with pytest.raises(ValueError, match="percentile"):
        find_candidate(scan, np.ones(scan.shape), percentile=101)
