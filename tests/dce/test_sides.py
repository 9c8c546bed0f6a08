"""Left and right are those of the patient, however the voxels lie, and nothing is said where it is not plain."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from breastkit.dce.sides import midline_mm, on_side, side_of
from breastkit.dce.voxel_box import Grid
from breastkit.dicom.derived_objects import Side

# In RAS+ millimetres: 320 from left to right, 80 and 60 along the others; its middle lies 25 to the right.
SHAPE, LOW = (80, 20, 15), np.array([-135.0, -40.0, -30.0])
STEP = 4.0


def volume(*balls):
    """A mask with a ball around each (left to right in millimetres, radius), on the plain RAS+ grid."""
    places = LOW[0] + STEP * np.arange(SHAPE[0])[:, None, None]
    across = STEP * (np.arange(SHAPE[1])[:, None] - 10), STEP * (np.arange(SHAPE[2]) - 7)
    mask = np.zeros(SHAPE, bool)
    for centre, radius in balls:
        mask |= (places - centre) ** 2 + across[0] ** 2 + across[1] ** 2 < radius**2
    affine = np.diag([STEP, STEP, STEP, 1])
    affine[:3, 3] = LOW
    return mask, Grid(SHAPE, affine)


def stored(mask, grid, axes, flips):
    """The same voxels in another order of their axes."""
    affine = grid.affine.copy()
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (mask.shape[axis] - 1)
        affine[:3, axis] *= -1
    mask = np.flip(mask, flips).transpose(axes)
    return mask, Grid.of(mask.shape, affine[:, [*axes, 3]])


TWO = ((-45, 36), (95, 36))


@pytest.mark.parametrize("flips", [(), (0,), (0, 1), (2,)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_sides_are_the_patients_however_voxels_are_stored(axes, flips):
    breast, grid = stored(*volume(*TWO), axes, flips)
    midline = midline_mm(breast, grid)
    assert abs(midline - 25) <= STEP
    for centre, side in ((-60, Side.LEFT), (80, Side.RIGHT)):
        lesion, _ = stored(*volume((centre, 10)), axes, flips)
        assert side_of(lesion, grid, midline) is side
    left, right = (on_side(breast, grid, midline, side) for side in (Side.LEFT, Side.RIGHT))
    np.testing.assert_array_equal(left | right, breast)
    assert not (left & right).any()
    assert side_of(left, grid, midline) is Side.LEFT and side_of(right, grid, midline) is Side.RIGHT


def test_a_patient_lying_askew_has_the_same_sides():
    breast, grid = volume(*TWO)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 8, degrees=True).as_matrix()
    askew = Grid(grid.shape, turn @ grid.affine)
    midline = midline_mm(breast, askew)
    assert side_of(volume((80, 10))[0], askew, midline) is Side.RIGHT


@pytest.mark.parametrize(
    "balls",
    [(), ((-45, 36),), ((-45, 36), (95, 12)), ((5, 36), (55, 36)), ((-45, 36), (0, 36), (50, 36), (95, 36))],
    ids=["none", "one", "one and a speck", "close together", "grown together"],
)
def test_nothing_is_said_where_there_are_not_plainly_two(balls):
    breast, grid = volume(*balls)
    assert midline_mm(breast, grid) is None
    assert side_of(volume((80, 10))[0], grid, None) is None


@pytest.mark.parametrize(("centre", "radius"), [(28, 8), (25, 30), (40, 20)])
def test_a_lesion_at_the_middle_has_no_side(centre, radius):
    breast, grid = volume(*TWO)
    assert side_of(volume((centre, radius))[0], grid, midline_mm(breast, grid)) is None
