"""The threshold that the lesion segmenter is held against, and both on a phantom."""

import numpy as np

from benchmarks.half_maximum import dice_of_lesions, half_maximum
from breastkit.bundle import Bundle


def test_half_of_the_brightest_gain_and_nothing_of_none():
    square = np.zeros((8, 8, 3), np.uint8)
    assert not half_maximum(square).any()
    square[2:5, 2:5, 2], square[6, 6, 2], square[7, 7, :2] = 200, 99, 255
    expected = np.zeros((8, 8), bool)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(half_maximum(square), expected)


def test_both_outline_lesions_of_every_kind():
    found = dice_of_lesions(Bundle("breast_mri_lesion_segmentation").opened(), cases=1)
    assert list(found) == ["usual", "irregular", "spiculated", "non-mass"]
    for one in found.values():
        assert all(0 < one[name]["value"] <= 1 for name in ("segmenter", "half_maximum") if one["lesions"])
