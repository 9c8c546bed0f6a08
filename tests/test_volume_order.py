"""Volumes with their axes in another order: what numpy gives, number by number."""

from itertools import permutations, product

import numpy as np
import pytest

from breastkit.volume_order import in_fortran_order, in_order

STEPS = (slice(None), slice(None, None, -1))
VIEWS = [(axes, steps) for axes in permutations(range(3)) for steps in product(STEPS, repeat=3)]


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.float32, np.int64, np.complex128])
def test_every_order_of_the_axes(kind):
    volume = np.random.default_rng(0).integers(0, 255, (7, 8, 9)).astype(kind)
    for axes, steps in VIEWS:
        turned = volume.transpose(axes)[steps]
        for view in (turned, turned[1:5, 2:, :3], turned[::2], turned[:0]):
            ordered, fortran = in_order(view), in_fortran_order(view)
            assert ordered.dtype == fortran.dtype == view.dtype
            assert ordered.flags.c_contiguous
            assert fortran.flags.f_contiguous
            np.testing.assert_array_equal(ordered, view)
            np.testing.assert_array_equal(fortran, view)


def test_what_lies_in_order_is_not_copied():
    volume = np.zeros((3, 4, 5))
    assert np.shares_memory(in_order(volume), volume)
    assert np.shares_memory(in_fortran_order(volume.T), volume)


def test_other_numbers_of_axes():
    picture = np.arange(12).reshape(3, 4).T
    assert in_order(picture).flags.c_contiguous
    np.testing.assert_array_equal(in_order(picture), picture)
