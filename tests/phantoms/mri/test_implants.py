import numpy as np
import pytest
from scipy import ndimage

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import make_mri_phantom

SHAPE = (96, 96, 40)


@pytest.fixture(scope="module")
def phantoms():
    """The same study without implant, with a dark and with a bright one."""
    return {
        kind: make_mri_phantom(9, 1, shape=SHAPE, phases=2, lesions=1, implant=kind)
        for kind in (None, "dark", "bright")
    }


def test_without_one_there_is_none(phantoms):
    assert phantoms[None].implant is None
    assert "implant" not in phantoms[None].settings["scan"]["water"]


def test_only_the_implant_differs(phantoms):
    for kind in ("dark", "bright"):
        np.testing.assert_array_equal(phantoms[kind].breast, phantoms[None].breast)
        np.testing.assert_array_equal(phantoms[kind].affine, phantoms[None].affine)
        assert phantoms[kind].settings["body"] == phantoms[None].settings["body"]
        np.testing.assert_array_equal(phantoms[kind].implant, phantoms["dark"].implant)


def test_it_is_one_large_piece_in_a_breast_and_holds_nothing_else(phantoms):
    phantom = phantoms["dark"]
    implant = phantom.implant > 0
    assert phantom.implant.dtype == np.uint8
    assert ndimage.label(implant)[1] == 1
    millilitres = implant.sum() * abs(np.linalg.det(phantom.affine[:3, :3])) / 1000
    assert 50 < millilitres < 500
    for other in (phantom.breast == 0, phantom.fibroglandular > 0, phantom.lesions > 0):
        assert not (other & implant).any()


def test_it_is_dark_or_bright_and_takes_up_no_contrast(phantoms):
    mean = {}
    for kind in ("dark", "bright"):
        phantom = phantoms[kind]
        inner = ndimage.binary_erosion(phantom.implant > 0, iterations=3)
        before, after = (float(phase[inner].mean()) for phase in phantom.phases)
        assert after == pytest.approx(before, rel=0.05)
        mean[kind] = before
    assert mean["bright"] > 3 * mean["dark"]


def test_another_filling_is_refused():
    with pytest.raises(BreastkitError, match="no implant called saline; choose one of dark, bright"):
        make_mri_phantom(9, 1, shape=SHAPE, implant="saline")
