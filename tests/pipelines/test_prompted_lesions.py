"""A click in one slice gives the lesion in all of them, on the grid of the study."""

import numpy as np
import pytest

from breastkit.bundle import Role, bundle_for
from breastkit.dce.phases import DcePhases
from breastkit.dce.voxel_box import Grid, VoxelBox
from breastkit.metrics.segmentation import dice
from breastkit.pipelines.prompted_lesions import PromptedStudy, StudyPrompts, enhancing_at

# Slices run downwards and columns from left to right: neither as the axial view has them.
GRID = Grid.of((72, 64, 24), np.array([[1.5, 0, 0, -50], [0, -1.5, 0, 40], [0, 0, -3, 30], [0, 0, 0, 1.0]]))


def ball(centre, radius):
    """Returns a ball in millimetres around a voxel of the grid."""
    axes = np.ogrid[tuple(slice(length) for length in GRID.shape)]
    steps = zip(axes, centre, GRID.spacing, strict=True)
    return sum(((axis - at) * step) ** 2 for axis, at, step in steps) <= radius**2


ONE, OTHER = ball((24, 40, 9), 9), ball((54, 28, 15), 7)


@pytest.fixture(scope="module")
def study():
    draw = np.random.default_rng(0)
    before = 100 + draw.normal(0, 4, GRID.shape)
    after = before + 160.0 * ONE + 120.0 * OTHER + draw.normal(0, 4, GRID.shape)
    arrays = [GRID.turn(one).astype(np.float32) for one in (before, after)]
    return PromptedStudy(DcePhases(arrays, GRID, ()), bundle_for(Role.REGION_SEGMENTATION).opened())


def test_what_enhances_around_a_point_is_found_and_nothing_else(study):
    found = enhancing_at((26, 39, 10), study.phases)
    assert dice(found, ONE) > 0.8
    assert not (found & OTHER).any()


def test_each_click_adds_the_lesion_it_lies_in(study):
    first = study.outlined(StudyPrompts(add=((26, 39, 10),)))
    assert dice(first, ONE) > 0.6
    assert not (first & OTHER).any()
    both = study.outlined(StudyPrompts(add=((26, 39, 10), (54, 28, 15))))
    assert (both >= first).all()
    assert dice(both & ~first, OTHER) > 0.6


def test_a_click_where_nothing_enhances_outlines_no_more_than_its_surroundings(study):
    found = study.outlined(StudyPrompts(add=((8, 8, 3),)))
    assert found[8, 8, 3]
    assert not (found & (ONE | OTHER)).any()


def test_a_click_that_removes_takes_the_piece_away_or_cuts_what_was_pointed_at(study):
    add = ((24, 40, 9), (54, 28, 15))
    both = study.outlined(StudyPrompts(add=add))
    # The box holds both; only one of them was pointed at.
    box = VoxelBox.around(ONE | OTHER, GRID)
    whole = study.outlined(StudyPrompts(box=box))
    assert (whole & ONE).any() and (whole & OTHER).any()
    less = study.outlined(StudyPrompts(box=box, remove=((54, 28, 15),)))
    assert (less & ONE).any() and not (less & OTHER).any()
    cut = study.outlined(StudyPrompts(add=add, remove=((24, 44, 9),)))
    assert not cut[24, 44, 9] and cut[24, 40, 9]
    assert (cut & OTHER).sum() == (both & OTHER).sum()


def test_what_is_in_a_box_stays_in_it(study):
    box = VoxelBox((14, 30, 5), (34, 50, 9), GRID)
    mask = study.outlined(StudyPrompts(box=box))
    assert mask.any()
    outside = mask.copy()
    outside[box.window] = False
    assert not outside.any()


def test_what_was_outlined_before_is_outlined_again_alike(study):
    prompts = StudyPrompts(add=((26, 39, 10),))
    before = study.outlined(prompts)
    study.outlined(StudyPrompts(add=((26, 39, 10), (8, 8, 3))))
    np.testing.assert_array_equal(study.outlined(prompts), before)
