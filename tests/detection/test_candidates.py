"""Boxes of slices to candidates on the study's own grid, and what counts as found."""

import numpy as np
import pytest

from breastkit.dce.voxel_box import Grid, VoxelBox
from breastkit.detection import (
    average_precision,
    find_candidates,
    lesions_in_breast,
    lesions_on_grid,
    link_boxes,
    match_boxes,
    overlap,
)
from breastkit.detection.boxes import pick_boxes
from breastkit.transforms.letterbox import Letterbox


def boxes(*rows):
    return np.array(rows, float).reshape(-1, 5)


def output(*rows):
    """A detector's output with these boxes (x0, y0, x1, y1, score) as its anchors."""
    x0, y0, x1, y1, score = boxes(*rows).T
    return np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, score])


def test_overlap_in_two_and_three_dimensions():
    assert overlap([[0, 0, 2, 2]], [[1, 0, 3, 2], [5, 5, 6, 6]]).tolist() == [[pytest.approx(1 / 3), 0.0]]
    assert overlap([[0, 0, 0, 2, 2, 2]], [[0, 0, 1, 2, 2, 3]])[0, 0] == pytest.approx(1 / 3)


def test_the_best_of_overlapping_boxes_is_kept():
    picked = pick_boxes(
        output([10, 10, 20, 20, 0.4], [11, 10, 21, 20, 0.9], [50, 50, 60, 60, 0.3], [0, 0, 9, 9, 0.01]), lowest=0.1
    )
    assert picked[:, 4].tolist() == [0.9, 0.3]
    assert picked[0, :4].tolist() == [11, 10, 21, 20]


def test_neighbouring_slices_make_one_candidate_and_gaps_are_bridged():
    lesion = [30, 30, 40, 40]
    slices = [boxes() for _ in range(12)]
    for number, score in ((3, 0.6), (4, 0.9), (6, 0.9)):
        slices[number] = boxes([*lesion, score])
    slices[9] = boxes([100, 100, 110, 110, 0.95])
    found = link_boxes(slices)
    assert [each.slices for each in found] == [(3, 4, 6), (9,)]
    assert found[0].score == pytest.approx(0.8)
    # One slice alone, however sure, is worth a third.
    assert found[1].score == pytest.approx(0.95 / 3)
    assert found[0].edges == (3, 30, 30, 7, 40, 40)


def test_a_chain_takes_one_box_a_slice():
    both = boxes([30, 30, 40, 40, 0.9], [34, 30, 44, 40, 0.5])
    found = link_boxes([both, both, both])
    assert [len(each.slices) for each in found] == [3, 3]
    assert [each.score for each in found] == [pytest.approx(0.9), pytest.approx(0.5)]


def test_candidates_within_a_better_one_and_faint_ones_are_left_out():
    volume = [output([30, 30, 60, 60, 0.9], [40, 40, 50, 50, 0.6], [90, 90, 99, 99, 0.2])] * 3
    assert [each.score for each in find_candidates(volume)] == [pytest.approx(0.9), pytest.approx(0.2)]
    assert len(find_candidates(volume, score=0.5)) == 1


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_voxels_on_the_own_grid(signs):
    """A box around known voxels of a square comes back as exactly these, whichever way the axes point."""
    shape = (100, 80, 12)
    affine = np.diag([2.0 * signs[0], 2.0 * signs[1], 3.0 * signs[2], 1.0])
    grid, letterbox = Grid(shape, affine), Letterbox(80, 100, 224)
    # Axial rows 20 to 29, columns 50 to 64, slices 4 to 6.
    row, column = np.array([20 - 0.5, 29 + 0.5]), np.array([50 - 0.5, 64 + 0.5])
    inverse = np.linalg.inv(letterbox.affine)
    (y0, x0, *_), (y1, x1, *_) = (inverse @ [c, r, 0, 1] for c, r in zip(column, row, strict=True))
    square = output([x0 + 0.5, y0 + 0.5, x1 + 0.5, y1 + 0.5, 0.9])
    nothing = output()
    volume = [square if 4 <= number <= 6 else nothing for number in range(12)]
    mask = np.zeros(shape, np.uint8)
    lesion = lesions_on_grid(find_candidates(volume), letterbox, grid)[0]
    assert lesion.box.on(grid.axial) == VoxelBox((4, 20, 50), (6, 29, 64), grid.axial)
    mask[lesion.box.window] = 1
    assert grid.turn(mask)[4:7, 20:30, 50:65].all()
    assert mask.sum() == 3 * 10 * 15
    assert sorted(box.low[2] for box in lesion.boxes) == list(range(lesion.box.low[2], lesion.box.high[2] + 1))
    assert lesions_in_breast([lesion], mask) == [lesion]
    assert lesions_in_breast([lesion], 1 - mask) == []
    assert lesions_in_breast([lesion], 0 * mask) == [lesion]


def test_each_true_box_is_found_once():
    found = boxes([0, 0, 10, 10, 0.9], [1, 0, 11, 10, 0.8], [40, 40, 50, 50, 0.7])
    hits = match_boxes(found, np.array([[0, 0, 10, 10], [41, 40, 51, 50]], float), (0.5, 0.9))
    assert hits.tolist() == [[True, True], [False, False], [True, False]]


def test_average_precision_by_hand():
    scores = np.array([0.9, 0.8, 0.7])
    # Right, wrong, right of two: precision 1 up to recall 0.5, 2/3 up to 1.
    expected = (51 * 1 + 50 * 2 / 3) / 101
    assert average_precision(scores, np.array([True, False, True]), 2) == pytest.approx(expected)
    assert average_precision(scores, np.array([False, False, False]), 2) == 0
    assert np.isnan(average_precision(scores, np.zeros(3, bool), 0))
