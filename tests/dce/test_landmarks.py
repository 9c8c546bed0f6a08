"""Chest wall, nipples, quadrant and hour: where they are, and that they stay when a patient lies askew."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from breastkit.dce.features import air_around, place_features
from breastkit.dce.landmarks import ChestWall, nipples, quadrant_and_clock
from breastkit.dce.sides import breasts_by_side, midline_mm, side_of
from breastkit.dce.voxel_box import Grid
from breastkit.dicom.derived_objects import Side
from breastkit.phantoms.mri import make_mri_phantom

SPACING = (2.0, 1.0, 1.0)


def bent(slices, columns):
    """A wall that is nearest to the front in the middle, in rows."""
    return 60 + 0.004 * (columns - 60) ** 2 + 0.02 * (slices - 15) ** 2


def domes(*, ragged=False):
    """Two breasts in front of a bent wall, and where their nipples are."""
    slices, rows, columns = np.meshgrid(np.arange(30), np.arange(90), np.arange(120), indexing="ij")
    wall, mask = bent(slices, columns), np.zeros(slices.shape, bool)
    for middle in (32, 88):
        mask |= ((slices - 15) * 2 / 28) ** 2 + ((rows - 60) / 45) ** 2 + ((columns - middle) / 25) ** 2 < 1
    mask &= rows < wall
    if ragged:
        # Breast that ends too early, or reaches into the chest, in a few places.
        mask[10:13, 40:, 20:30] = False
        mask[18:20, 50:85, 85:95] = True
    return mask


@pytest.mark.parametrize("ragged", [False, True])
def test_the_wall_is_the_smooth_surface_behind_both_breasts(ragged):
    wall = ChestWall.behind(domes(ragged=ragged), SPACING)
    places = np.array([[s * 2.0, float(c)] for s in (10, 15, 20) for c in (30, 45, 75, 90)])
    expected = [bent(s / 2, c) for s, c in places]
    # Voxels end up to one before or behind the surface.
    np.testing.assert_allclose(wall.in_front(np.insert(places, 1, expected, axis=1)), 0, atol=1.5)


def test_there_is_no_wall_behind_nothing():
    assert ChestWall.behind(np.zeros((8, 9, 7), bool), SPACING) is None
    assert nipples({Side.LEFT: np.zeros((8, 9, 7), bool)}, None, SPACING) == {}


def test_what_lies_behind_the_wall_is_at_no_distance():
    wall = ChestWall.behind(domes(), SPACING)
    assert wall.distance(np.array([[30.0, 75.0, 60.0], [30.0, 20.0, 60.0]])) == 0


def test_nipples_are_the_tips():
    breast = domes()
    parts = {Side.RIGHT: breast.copy(), Side.LEFT: breast.copy()}
    parts[Side.RIGHT][..., 60:] = parts[Side.LEFT][..., :60] = False
    found = nipples({**parts, None: breast}, ChestWall.behind(breast, SPACING), SPACING)
    assert set(found) == set(Side)
    for side, middle in ((Side.RIGHT, 32), (Side.LEFT, 88)):
        np.testing.assert_allclose(found[side], (30, 16, middle), atol=3)


AXIAL = Grid((30, 90, 120), np.array([[0, 0, -1.0, 60], [0, -1.0, 0, 40], [2.0, 0, 0, -30], [0, 0, 0, 1]]))


@pytest.mark.parametrize(
    ("up", "to_left", "side", "place"),
    [
        (20, 20, Side.LEFT, ("upper outer", 2)),
        (20, 20, Side.RIGHT, ("upper inner", 2)),
        (-20, -20, Side.RIGHT, ("lower outer", 8)),
        (0, -20, Side.RIGHT, ("upper outer", 9)),
        (0, 20, Side.LEFT, ("upper outer", 3)),
        (20, 1, Side.LEFT, ("upper outer", 12)),
        (5, 5, Side.LEFT, ("central", None)),
    ],
)
def test_quadrant_and_hour_are_those_one_sees_in_front_of_the_patient(up, to_left, side, place):
    nipple = np.array([30.0, 16, 60])
    assert quadrant_and_clock(nipple + np.array([up, 30, to_left]), nipple, side, AXIAL) == place


def measured(arrays, grid):
    """Side and distances of a lesion in a breast."""
    scan, breast, lesion = arrays
    wall = ChestWall.behind(breast, grid.spacing)
    side = side_of(lesion, grid, midline := midline_mm(breast, grid))
    nipple = nipples(breasts_by_side(breast, grid, midline), wall, grid.spacing)[side]
    return side, place_features(lesion, air_around(breast, scan), wall, nipple, spacing=grid.spacing)


def test_distances_of_a_patient_who_lies_askew_stay_within_three_millimetres():
    phantom = make_mri_phantom(31, 0, shape=(96, 96, 40), phases=2, lesions=1)
    own = Grid.of(phantom.breast.shape, phantom.affine)
    grid, spacing = own.axial, np.array(own.axial.spacing)
    scan, breast = (own.turn(one).astype(np.float32) for one in (phantom.phases[0], phantom.breast))
    middle = np.argwhere(breast > 0).mean(axis=0)
    # A ball in its place, since a lesion of few voxels changes its shape when it is turned.
    lesion = np.argwhere(own.turn(phantom.lesions) > 0).mean(axis=0)
    places = np.stack(np.indices(breast.shape), axis=-1)
    found = []
    for axis, degrees in (("x", 0), ("x", 10), ("x", -5), ("y", 5), ("z", 10), ("z", -5)):
        # The axes of the rotation are slices, rows and columns.
        turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
        matrix = np.diag(1 / spacing) @ turn @ np.diag(spacing)
        shift = middle - matrix @ middle
        moved, outline = (ndimage.affine_transform(one, matrix, shift, order=1) for one in (scan, breast))
        ball = np.linalg.norm((places - np.linalg.solve(matrix, lesion - shift)) * spacing, axis=-1) < 7
        found.append(measured([moved, outline > 0.5, ball], grid))
    sides, distances = zip(*found, strict=True)
    assert len(set(sides)) == 1 and sides[0] is Side(phantom.lesion_table[0]["side"])
    for name in distances[0]:
        assert max(abs(one[name] - distances[0][name]) for one in distances) < 3, name
