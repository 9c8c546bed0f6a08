"""An asymmetric phantom in all 48 orientations: a box and a volume go to the axial view and back."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from breastkit.dce import Grid, VoxelBox

# Voxels from right to left, front to back and feet to head, and their edges in millimetres.
SHAPE, SPACING = (5, 7, 9), (1.0, 2.0, 3.0)
LOW, HIGH = (1, 0, 2), (3, 4, 7)
ORIENTATIONS = [
    "".join(pair[end] for pair, end in zip(axes, ends, strict=True))
    for axes in permutations(("LR", "PA", "SI"))
    for ends in product((0, 1), repeat=3)
]
# A head tilted by less than 45 degrees, about all axes.
TILT = Rotation.from_euler("xyz", (12, -16, 14), degrees=True).as_matrix()


def oriented(letters, tilt):
    """Returns a grid whose axes point as asked, and where each of its voxels lies along right-left, front-back, up.

    The places are written down voxel by voxel, so that no conversion is trusted.
    """
    world = [next(n for n, pair in enumerate(("LR", "PA", "SI")) if letter in pair) for letter in letters]
    shape = tuple(SHAPE[axis] for axis in world)
    affine = np.eye(4)
    affine[:3, :3] = 0
    places = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    whereabouts = [None] * 3
    for own, (axis, letter) in enumerate(zip(world, letters, strict=True)):
        towards_lps = letter in "LPS"
        # RAS+: left and back are negative.
        sign = (1 if letter in "RAS" else -1) * SPACING[axis]
        affine[axis, own] = sign
        whereabouts[axis] = places[own] if towards_lps else shape[own] - 1 - places[own]
    if tilt:
        affine[:3, :3] = TILT @ affine[:3, :3]
    affine[:3, 3] = (-31.5, 12.25, 240.0)
    return Grid(shape, affine), whereabouts


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("tilt", [False, True], ids=["straight", "tilted"])
@pytest.mark.parametrize("letters", ORIENTATIONS)
def test_box_and_volume_go_to_the_axial_view_and_back(letters, tilt):
    grid, (left, back, up) = oriented(letters, tilt)
    inside = np.ones(grid.shape, bool)
    for place, low, high in zip((left, back, up), LOW, HIGH, strict=True):
        inside &= (place >= low) & (place <= high)
    number = 100 * left + 10 * back + up
    axial = np.fromfunction(lambda s, r, c: 100 * c + 10 * r + s, SHAPE[::-1], dtype=int)
    np.testing.assert_array_equal(grid.turn(number), axial)
    np.testing.assert_array_equal(grid.restore(axial), number)
    assert (grid.axial.shape, grid.axial.axial) == (SHAPE[::-1], grid.axial)
    np.testing.assert_allclose(grid.axial.spacing, SPACING[::-1])
    box = VoxelBox(LOW[::-1], HIGH[::-1], grid.axial)
    own = box.on(grid)
    assert own == VoxelBox.around(inside, grid)
    assert own.on(grid.axial) == box
    assert VoxelBox.of_bounds(own.bounds, grid) == own
    assert inside[own.window].all()
    assert np.count_nonzero(inside) == inside[own.window].size
    # Both are the same place in the world.
    np.testing.assert_allclose(own.centre_mm, box.centre_mm, atol=1e-9)
    np.testing.assert_allclose(sorted(own.size_mm), sorted(box.size_mm))
    corner = grid.affine @ [*np.argwhere(inside).mean(axis=0), 1]
    np.testing.assert_allclose(own.centre_mm, corner[:3], atol=1e-9)


@given(st.sampled_from(ORIENTATIONS), st.sampled_from(ORIENTATIONS), st.data())
def test_any_box_from_any_orientation_to_any_other(one, other, data):
    first, second = oriented(one, False)[0], oriented(other, False)[0]
    # The same voxels: the second grid lies where the first one does.
    corner = first.axial.affine[:3, 3] - second.axial.affine[:3, 3]
    second.affine[:3, 3] += corner
    second = Grid(second.shape, second.affine)
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, size - 1)] * 2))) for size in first.shape]
    box = VoxelBox(tuple(low for low, _ in ends), tuple(high for _, high in ends), first)
    moved = box.on(second)
    assert moved.on(first) == box
    mask = np.zeros(first.shape, bool)
    mask[box.window] = True
    np.testing.assert_array_equal(np.argwhere(first.turn(mask)).min(axis=0), moved.on(second.axial).low)
    np.testing.assert_allclose(moved.centre_mm, box.centre_mm, atol=1e-9)


def test_a_grid_of_other_voxels_is_refused():
    grid = Grid((4, 5, 6), np.eye(4))
    box = VoxelBox((0, 0, 0), (1, 1, 1), grid)
    half, turned = np.eye(4), np.eye(4)
    half[0, 3] = 0.5
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    for other in (Grid((4, 5, 7), np.eye(4)), Grid((4, 5, 6), half), Grid((4, 5, 6), 2 * np.eye(4)),
                  Grid((4, 5, 6), turned)):  # fmt: skip
        with pytest.raises(ValueError, match="do not hold the same voxels"):
            box.on(other)


def test_edges_and_whether_it_lies_inside():
    grid = Grid((4, 5, 6), np.eye(4))
    box = VoxelBox((0, 1, 2), (3, 1, 5), grid)
    assert box.edges.tolist() == [0, 1, 2, 4, 2, 6]
    assert box.inside
    assert not VoxelBox((0, 1, 2), (4, 1, 5), grid).inside
    assert not VoxelBox((0, 1, -1), (3, 1, 5), grid).inside
    assert not VoxelBox((2, 1, 2), (1, 1, 5), grid).inside
    assert list(box.bounds) == ["col_min", "col_max", "row_min", "row_max", "slice_min", "slice_max"]
