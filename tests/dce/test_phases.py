"""An asymmetric study in every orientation: one view, one way back."""

import numpy as np
import pytest

from breastkit.dce.phases import channel_volume, lesion_slices, mask_slices, read_phases, slice_boxes
from breastkit.dce.voxel_box import VoxelBox
from breastkit.errors import BreastkitError
from breastkit.images import read_volume, write_nifti
from breastkit.transforms.letterbox_slices import unletterbox

# Columns, rows and slices of the axial view.
SHAPE = (10, 14, 6)
ORIENTATIONS = ["LPS", "RAS", "LPI", "PSL", "SAR", "ILA"]


def study(folder, orientation, *, phases=2):
    """Writes phases whose axes point as asked, with one bright box that rises after contrast; returns their paths."""
    affine, shape = np.eye(4), []
    for axis, letter in enumerate(orientation):
        world = next(n for n, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[:3, axis] = 0
        affine[world, axis] = (1.0, 2.0, 3.0)[world] * (1 if letter in "RAS" else -1)
        shape.append(SHAPE[world])
    volume = np.random.default_rng(0).normal(50, 5, SHAPE)
    bright = volume.copy()
    bright[2:5, 3:5, 1:4] += 100
    paths = []
    for number in range(phases):
        axial = bright if number else volume
        # The axial view is LPS; here it is turned to the file's axes by hand.
        order = [next(n for n, pair in enumerate(("RL", "AP", "SI")) if letter in pair) for letter in orientation]
        turned = axial.transpose(order)
        flips = tuple(slice(None, None, 1 if letter in "LPS" else -1) for letter in orientation)
        paths.append(write_nifti(folder / f"x_{number:04d}.nii.gz", turned[flips].astype(np.float32), affine))
    return paths, bright


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_one_view_whatever_the_orientation(tmp_path, orientation):
    paths, bright = study(tmp_path, orientation)
    phases = read_phases(paths)
    np.testing.assert_allclose(phases.arrays[1], bright.transpose(2, 1, 0), rtol=1e-6)
    assert phases.spacing == pytest.approx((3.0, 2.0, 1.0))
    own = phases.restore(phases.arrays[1])
    assert own.shape == phases.shape
    np.testing.assert_array_equal(phases.axial(own), phases.arrays[1])
    box = VoxelBox((1, 3, 2), (3, 4, 4), phases.grid.axial).on(phases.grid)
    inside = own[box.window]
    assert inside.size == 18
    assert inside.min() > 100


def test_the_lesion_shows_in_the_subtraction_and_comes_back(tmp_path):
    paths, bright = study(tmp_path, "LPS")
    phases = read_phases(paths)
    lesion = (bright.transpose(2, 1, 0) > 100).astype(np.uint8)
    whole = channel_volume(phases)
    assert whole.shape == (*lesion.shape, 3)
    assert whole[..., 2][lesion > 0].min() > whole[..., 2][lesion == 0].max()
    squares, box = lesion_slices(phases, 64)
    masks = mask_slices(lesion, box)
    assert squares.shape == (6, 64, 64, 3)
    assert squares[..., 2][masks > 0].mean() > 150 > 20 > squares[..., 2][masks == 0].mean()
    np.testing.assert_array_equal(unletterbox(masks, box, nearest=True) > 0.5, lesion > 0)
    some, _ = lesion_slices(phases, 64, only=[1, 4])
    np.testing.assert_array_equal(some[[1, 4]], squares[[1, 4]])
    assert not some[[0, 2, 3, 5]].any()
    alone = channel_volume(phases, "subtraction")
    for channel in range(3):
        np.testing.assert_array_equal(alone[..., channel], whole[..., 2])


def test_boxes_of_a_slice():
    mask = np.zeros((32, 32), np.uint8)
    mask[4:10, 6:8] = 1
    mask[4:10, 9:12] = 1
    mask[20:24, 20:23] = 1
    mask[30, 30] = 1
    assert sorted(slice_boxes(mask)) == [[6.0, 4.0, 12.0, 10.0], [20.0, 20.0, 23.0, 24.0]]
    assert slice_boxes(np.zeros((8, 8))) == []


def test_studies_that_are_none(tmp_path):
    paths, _ = study(tmp_path, "LPS")
    with pytest.raises(BreastkitError, match="is a single phase"):
        read_phases(paths[:1])
    other = write_nifti(tmp_path / "other.nii.gz", np.random.default_rng(1).normal(size=(9, 14, 6)), np.eye(4))
    with pytest.raises(BreastkitError, match=r"other.nii.gz has the shape .*, but .*x_0000.nii.gz has"):
        read_phases([paths[0], other])


@pytest.mark.parametrize("apart", [0.02, 2.0])
def test_phases_may_lie_apart_as_headers_are_rounded(tmp_path, apart):
    paths, _ = study(tmp_path, "LPS")
    image = read_volume(paths[1])
    affine = image.affine.copy()
    affine[1, 3] += apart
    moved = write_nifti(tmp_path / "moved.nii.gz", image.array, affine)
    if apart < 0.1:
        assert len(read_phases([paths[0], moved]).arrays) == 2
    else:
        with pytest.raises(BreastkitError, match=r"moved.nii.gz lies up to 2.00 mm away from .*x_0000.nii.gz"):
            read_phases([paths[0], moved])
