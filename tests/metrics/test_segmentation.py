import numpy as np
import pytest

from breastkit.metrics import dice, hd95, iou, segmentation_metrics, slice_metrics, volume_error_ml


def cube(start, size=4, shape=(20, 20, 20)):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(value, value + size) for value in start)] = 1
    return mask


def test_a_cube_moved_by_half_of_itself():
    truth, moved = cube((4, 4, 4)), cube((6, 4, 4))
    assert dice(moved, truth) == pytest.approx(0.5)
    assert iou(moved, truth) == pytest.approx(1 / 3)
    assert hd95(moved, truth) == pytest.approx(2)
    assert hd95(moved, truth, spacing=(1.5, 1, 1)) == pytest.approx(3)
    assert volume_error_ml(moved, truth, spacing=(1, 1, 1)) == 0


def test_volume_error_is_signed_and_in_millilitres():
    small, large = cube((4, 4, 4), 4), cube((4, 4, 4), 5)
    assert volume_error_ml(large, small, spacing=(2, 2, 2.5)) == pytest.approx((125 - 64) * 10 / 1000)
    assert volume_error_ml(small, large, spacing=(2, 2, 2.5)) == pytest.approx((64 - 125) * 10 / 1000)


def test_two_empty_masks_agree_and_a_missed_one_costs_the_diagonal():
    empty, full = np.zeros((10, 10, 10)), cube((2, 2, 2), 4, (10, 10, 10))
    assert (dice(empty, empty), iou(empty, empty), hd95(empty, empty)) == (1, 1, 0)
    for pair in ((empty, full), (full, empty)):
        assert (dice(*pair), iou(*pair)) == (0, 0)
        assert hd95(*pair, spacing=(1, 2, 3)) == pytest.approx(np.sqrt(10**2 + 20**2 + 30**2))


def test_masks_at_the_border_of_the_image_have_a_border():
    whole = np.ones((8, 8), dtype=bool)
    inner = np.zeros_like(whole)
    inner[2:6, 2:6] = True
    # from the outer frame to the inner block: 2 along the sides, the corners further
    assert hd95(inner, whole) == pytest.approx(2 * np.sqrt(2), abs=0.3)


def test_metrics_of_a_volume_have_the_names_of_the_table():
    row = segmentation_metrics(cube((4, 4, 4)), cube((4, 4, 4)), spacing=(1, 1, 1))
    assert row == {"dice": 1.0, "iou": 1.0, "hd95_mm": 0.0, "volume_error_ml": 0.0}
    with pytest.raises(ValueError, match="one shape"):
        segmentation_metrics(np.ones((2, 3, 3)), np.ones((3, 3, 3)), spacing=(1, 1, 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_counted_along_the_axis_asked_for(axis):
    truth = np.moveaxis(cube((4, 4, 4)), 0, axis)
    moved = np.moveaxis(cube((6, 4, 4)), 0, axis)
    rows = slice_metrics(moved, truth, axis=axis)
    assert len(rows) == 20
    assert [row["slice"] for row in rows] == list(range(20))
    assert [row["truth_pixels"] for row in rows[3:9]] == [0, 16, 16, 16, 16, 0]
    assert [row["dice"] for row in rows[3:11]] == [1, 0, 0, 1, 1, 0, 0, 1]
    assert rows[6]["iou"] == 1
