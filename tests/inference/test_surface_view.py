"""Breasts in three dimensions: what is where, from every side and however the scan is stored."""

import nibabel
import numpy as np
import pytest

from breastkit.inference.surface_view import surface_picture
from breastkit.pictures import LESION, tiles

# Columns to the left, rows to the back, slices to the head.
AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])


def breasts():
    """A block whose upper half is twice as deep; a lesion in the patient's left lower quadrant, near the front."""
    mask, lesion = np.zeros((2, 40, 32, 24), np.uint8)
    mask[5:35, 16:28, 4:20] = mask[5:35, 4:28, 12:20] = 1
    lesion[28:32, 18:21, 6:9] = 1
    return mask, lesion


def stored_as(codes):
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(codes))
    images = [nibabel.Nifti1Image(array, AFFINE).as_reoriented(turn) for array in breasts()]
    return [np.asarray(image.dataobj) for image in images], images[0].affine


def centre(picture, where):
    """Returns the mean row and column of what is found, as shares of the drawn part's extent."""
    drawn = np.argwhere(picture.max(axis=2) > 30)
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    return (np.argwhere(where).mean(axis=0) - low) / (high - low)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SPR", "AIL"])
def test_every_side_shows_what_is_there(codes):
    (mask, lesion), affine = stored_as(codes)
    front, left, feet = (
        picture.astype(int) for picture in tiles(surface_picture(mask, affine, lesion), columns=3, titled=True)
    )
    # The border of the lesion is drawn in its own colour.
    found = [centre(side, (side == LESION).all(axis=2)) for side in (front, left, feet)]
    # The patient's left is on the right, the head is up, the front is on the left from the left and up from the feet.
    for place, expected in zip(found, ((0.8, 0.83), (0.8, 0.63), (0.63, 0.83)), strict=True):
        assert place == pytest.approx(expected, abs=0.12)
    # From the left the upper half reaches farther to the front, where the lower one leaves the dark to be seen.
    assert left[90:130, 60:90].mean() > 60 > 30 > left[200:230, 60:90].mean()


def test_the_light_comes_from_above():
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 20, axis=0) < 15
    front, *_ = tiles(surface_picture(ball, np.diag([-1, -1, 1, 1]), 0 * ball), columns=3, titled=True)
    rows, columns = np.argwhere(front.max(axis=2) > 30).T
    upper_left = rows + columns < (rows.mean() + columns.mean())
    brightness = front.mean(axis=2)[rows, columns]
    assert brightness[upper_left].mean() > 1.3 * brightness[~upper_left].mean()


def test_nothing_is_nothing():
    picture = surface_picture(np.zeros((8, 9, 5)), AFFINE, np.zeros((8, 9, 5)))
    assert len(np.unique(tiles(picture, columns=3, titled=True)[1][40:])) == 1
