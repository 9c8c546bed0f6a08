import itertools

import nibabel
import numpy as np
import pytest

from breastkit.inference import AxialView
from breastkit.pictures import PREDICTION

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])  # columns to the left, rows to the back, slices to the head


def volume():
    """Bright in the front on the patient's right, towards the head."""
    array = np.zeros((20, 16, 8), dtype=np.int16)
    array[:10, :8, 4:] = 100
    return array


@pytest.mark.parametrize(
    "codes", ["".join(c) for axes in itertools.permutations(("RL", "AP", "SI")) for c in itertools.product(*axes)]
)
def test_front_is_at_the_top_and_the_right_on_the_left_however_stored(codes):
    image = nibabel.Nifti1Image(volume(), AFFINE)
    start, end = nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(codes)
    stored = image.as_reoriented(nibabel.orientations.ornt_transform(start, end))
    array = np.asarray(stored.dataobj)
    view = AxialView(array, stored.affine, {"mask": array > 0})
    assert view.depth == 8
    picture = view.picture(6)
    assert picture.shape == (16, 20, 3)
    assert picture[:8, :10].min() == 255
    assert picture[8:].max() == picture[:, 10:].max() == 0
    assert view.picture(1).max() == 0
    assert view.largest("mask") >= 4


def test_pixels_are_square_in_millimetres():
    view = AxialView(volume(), np.diag([-1.0, -3.0, 2.0, 1.0]), {"mask": volume() > 0})
    assert view.picture(6, outlined=[("mask", PREDICTION)]).shape == (48, 20, 3)


def test_slices_are_chosen_in_the_mask_or_the_middle():
    view = AxialView(volume(), AFFINE, {"mask": volume() > 0, "none": np.zeros(volume().shape)})
    assert view.middle(3) == [2, 3, 4]
    assert view.middle(99) == list(range(8))
    assert set(view.spread("mask", 2)) <= {4, 5, 6, 7}
    assert view.largest("none") == 4
    assert view.spread("none", 3) == [2, 4, 5]


def test_masks_are_drawn_in_their_colours():
    view = AxialView(volume(), AFFINE, {"mask": volume() > 0})
    outlined = view.picture(6, outlined=[("mask", PREDICTION)])
    assert (outlined[0, 0] == PREDICTION).all()
    assert (outlined[4, 4] == 255).all()
    filled = view.picture(6, filled=[("mask", PREDICTION)])
    assert (filled[4, 4] != 255).any()


def test_a_window_around_a_mask_stays_inside_the_picture():
    masks = {name: np.zeros((40, 60, 4)) for name in ("corner", "large", "none")}
    masks["corner"][:3, :3, 1] = masks["large"][5:35, 10:50, 1] = 1
    view = AxialView(np.arange(40 * 60 * 4.0).reshape(40, 60, 4), AFFINE, masks)
    assert view.around("corner", 1, least_mm=20) == (slice(0, 20), slice(0, 20))
    assert view.around("large", 1, least_mm=20) == (slice(0, 60), slice(0, 40))
    assert view.around("none", 1, least_mm=20) == (slice(None), slice(None))
    assert view.picture(1)[view.around("corner", 1, least_mm=20)].shape == (20, 20, 3)
