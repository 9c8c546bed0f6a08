"""Breasts at one scale and flat in brightness, and what is found in them back on their voxels."""

import numpy as np
import pytest
from monai.data import MetaTensor

from breastkit.transforms import BreastViewd
from breastkit.transforms.breast_view import BreastView

SPACING = (3.0, 1.6, 1.2)


def study():
    """A breast with a bright gland in it, twice as bright at its left end as at its right one."""
    breast, gland = np.zeros((6, 40, 60), bool), np.zeros((6, 40, 60), bool)
    breast[1:5, 8:32, 10:50] = True
    gland[2:4, 16:24, 26:34] = True
    scan = np.where(breast, 100.0, 4.0) * np.linspace(1, 2, 60)
    scan[gland] *= 2
    return scan.astype(np.float32), breast, gland


def test_shading_is_gone_and_gland_is_brighter_than_the_breast_around_it():
    scan, breast, gland = study()
    view = BreastView.around(breast, SPACING)
    assert view.window == (slice(1, 5), slice(8, 32), slice(10, 50)) and view.scaled == (48, 60)
    pictures, inside = view.pictures(scan, breast), view.masks(gland) > 0
    fat = ~inside & (view.masks(breast) > 0)
    assert pictures[inside].mean() > 0.5 > pictures[fat].mean() + 0.4
    left, right = pictures[..., :15][fat[..., :15]], pictures[..., -15:][fat[..., -15:]]
    assert abs(left.mean() - right.mean()) < 0.25


def test_scale_and_offset_of_intensities_do_not_matter():
    scan, breast, _ = study()
    view = BreastView.around(breast, SPACING)
    plain = view.pictures(scan, breast)
    np.testing.assert_allclose(view.pictures(0.01 * scan - 1000, breast), plain, atol=0.02)


def test_what_is_found_lies_on_the_voxels_it_was_found_in():
    _, breast, gland = study()
    view = BreastView.around(breast, SPACING)
    back = view.restored(view.masks(gland)) > 0.5
    np.testing.assert_array_equal(back, gland[view.window])


@pytest.mark.parametrize("size", [(32, 48), (64, 80)])
def test_training_gets_pictures_of_one_size_with_the_front_at_the_top(size):
    scan, breast, gland = study()
    affine = np.diag([-SPACING[2], SPACING[1], SPACING[0], 1.0])
    # The canonical frame: columns, rows from the back to the front, slices.
    volumes = [array[:, ::-1].transpose(2, 1, 0)[None].astype(np.float32) for array in (scan, breast, gland)]
    data = {
        key: MetaTensor(np.ascontiguousarray(volume), affine=affine)
        for key, volume in zip(("image", "breast", "label"), volumes, strict=True)
    }
    shown = BreastViewd(("image", "label"), size=size)(data)
    assert set(shown) == {"image", "label"}
    assert shown["image"].shape == shown["label"].shape == (1, *size, 4)
    view = BreastView.around(breast, SPACING)
    middle = np.asarray(shown["label"])[0, size[0] // 2 - 8 : size[0] // 2 + 8, :, 2].sum()
    assert middle == view.masks(gland)[2, 16:32].sum() > 0
