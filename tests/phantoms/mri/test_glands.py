"""Glands drawn widely: more kinds of them, and nothing else of the usual phantoms changes."""

import numpy as np
import pytest

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import make_mri_phantom

SMALL = (64, 64, 16)


def test_varied_glands_differ_more_in_amount_and_lie_within_the_breasts():
    shares = {}
    for glands in ("usual", "varied"):
        phantoms = [make_mri_phantom(5, case, shape=SMALL, glands=glands, phases=2) for case in range(8)]
        for one in phantoms:
            assert one.fibroglandular.any() and not one.fibroglandular[one.breast == 0].any()
        shares[glands] = np.log([one.settings["body"]["density"] for one in phantoms])
    assert np.std(shares["varied"]) > np.std(shares["usual"])


def test_the_body_around_varied_glands_is_that_of_the_usual_ones():
    usual, varied = (make_mri_phantom(5, 1, shape=SMALL, glands=glands, phases=2) for glands in ("usual", "varied"))
    np.testing.assert_array_equal(usual.breast, varied.breast)
    assert not np.array_equal(usual.fibroglandular, varied.fibroglandular)


def test_there_is_no_other_way_to_draw_them():
    with pytest.raises(BreastkitError, match="plenty is no way to draw glands; give one of usual, varied"):
        make_mri_phantom(1, 1, shape=SMALL, glands="plenty")
