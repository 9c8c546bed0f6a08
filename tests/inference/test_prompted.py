"""What is looked at, and what a click does whatever the network makes of it."""

import numpy as np
import pytest

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.inference.prompted import Box, PromptedSegmenter, Prompts, mask_of, view_of
from breastkit.pipelines import ULTRASOUND
from breastkit.transforms.prompts import Click


def square(*corners, shape=(200, 300)):
    mask = np.zeros(shape, bool)
    for top, left, side in corners:
        mask[top : top + side, left : left + side] = True
    return mask


class TestViewOf:
    def test_of_a_picture_in_which_nothing_is_outlined_the_whole_is_looked_at(self):
        assert view_of(square(), Prompts((Click(50, 60),))) == (slice(0, 200), slice(0, 300))

    def test_what_is_outlined_and_pointed_at_lies_in_a_square_with_something_around(self):
        rows, columns = view_of(square((80, 100, 40)), Prompts((Click(90, 150, inside=False),)))
        assert rows.stop - rows.start == columns.stop - columns.start
        assert rows.start <= 72 and rows.stop >= 128 and columns.start <= 95 and columns.stop >= 156

    def test_at_the_border_it_stays_in_the_picture(self):
        rows, columns = view_of(square((0, 270, 30)), Prompts())
        assert rows.start == 0 and columns.stop == 300
        assert rows.stop - rows.start == columns.stop - columns.start

    def test_a_box_is_looked_at_without_an_outline(self):
        rows, columns = view_of(square(), Prompts(box=Box(50, 60, 90, 120)))
        assert (rows.start, columns.start) < (50, 60) and rows.stop > 90 and columns.stop > 120
        assert columns.stop - columns.start < 150


class TestMaskOf:
    probability = 0.9 * square((20, 20, 40), (120, 200, 30))

    def test_without_clicks_it_is_what_is_probable(self):
        np.testing.assert_array_equal(mask_of(self.probability, Prompts()), self.probability > 0)

    def test_a_piece_that_is_removed_is_gone_and_the_other_stays(self):
        mask = mask_of(self.probability, Prompts((Click(130, 210, inside=False),)))
        np.testing.assert_array_equal(mask, square((20, 20, 40)))

    def test_a_click_is_followed_where_it_lies(self):
        clicks = (Click(30, 30), Click(50, 50, inside=False), Click(100, 100))
        mask = mask_of(self.probability, Prompts(clicks))
        assert mask[30, 30] and mask[100, 100] and not mask[50, 50]
        # The piece was pointed at both ways: all but the surroundings of the click stays.
        assert mask[20:60, 20:60].sum() > 0.95 * 1600


def test_weights_that_follow_no_prompts_are_refused():
    bundle = Bundle(ULTRASOUND).used("segmenter")
    with pytest.raises(BreastkitError, match=r"follow no prompts; train some with configs/train_clicks\.json"):
        PromptedSegmenter(bundle, bundle.shipped_weights)
