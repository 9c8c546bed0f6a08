"""What a detector found, written to a file and read again."""

import json

import numpy as np
import pytest

from breastkit.dce import Grid, VoxelBox
from breastkit.detection import Detection, read_boxes, write_boxes
from breastkit.errors import BreastkitError

GRID = Grid((4, 4, 4), np.eye(4))
SAGITTAL = Grid((5, 6, 7), np.array([[0, 0, -3.0, 30], [-2, 0, 0, 40], [0, -2, 0, 50], [0, 0, 0, 1]]))


@pytest.mark.parametrize("grid", [Grid((7, 5, 6), np.diag([-1.0, -2, 3, 1])), SAGITTAL], ids=["axial", "sagittal"])
def test_what_was_written_is_read_again(tmp_path, grid):
    """An axial slice of a sagittal study spans several of its own slices; its box must not shrink to one of them."""
    parts = tuple(
        Detection(score, VoxelBox((number, 1, 2), (number, 3, 5), grid.axial).on(grid))
        for number, score in ((1, 0.5), (2, 0.75))
    )
    lesion = Detection(0.625, VoxelBox((1, 1, 2), (2, 3, 5), grid.axial).on(grid), parts)
    path = write_boxes(tmp_path / "x_boxes.json", "x", grid.shape, [lesion])
    assert read_boxes(path, grid) == [lesion]


def test_the_file_is_as_it_was_ever_written(tmp_path):
    part = Detection(0.5, VoxelBox((1, 0, 2), (3, 1, 2), GRID))
    lesion = Detection(0.25, VoxelBox((1, 0, 2), (3, 1, 3), GRID), (part,))
    bounds = {"col_min": 1, "col_max": 3, "row_min": 0, "row_max": 1, "slice_min": 2}
    told = {
        "file": "study",
        "shape": [4, 4, 4],
        "lesions": [
            {
                "score": 0.25,
                **bounds,
                "slice_max": 3,
                "boxes": [{"slice": 2, **bounds, "slice_max": 2, "score": 0.5}],
            }
        ],
    }
    written = write_boxes(tmp_path / "x_boxes.json", "study", (4, 4, 4), [lesion]).read_text()
    assert written == json.dumps(told, indent=2) + "\n"


def test_of_a_single_slice_its_number_is_enough(tmp_path):
    bounds = {"col_min": 1, "col_max": 3, "row_min": 0, "row_max": 1}
    lesion = {"score": 0.5, **bounds, "slice_min": 0, "slice_max": 3, "boxes": [{"slice": 2, **bounds}]}
    path = tmp_path / "x_boxes.json"
    path.write_text(json.dumps({"shape": [4, 4, 4], "lesions": [lesion]}))
    (found,) = read_boxes(path, GRID)
    assert found.boxes == [VoxelBox((1, 0, 2), (3, 1, 2), GRID)]


def test_lesions_of_a_file_come_best_first_and_bad_files_are_named(tmp_path):
    bounds = dict.fromkeys(("col_min", "col_max", "row_min", "row_max", "slice_min", "slice_max"), 1)
    lesions = [{"score": score, **bounds} for score in (0.2, 0.9)]
    path = tmp_path / "x_boxes.json"
    path.write_text(json.dumps({"shape": [4, 4, 4], "lesions": lesions}))
    assert [lesion.score for lesion in read_boxes(path, GRID)] == [0.9, 0.2]
    with pytest.raises(BreastkitError, match="boxes of a scan of shape"):
        read_boxes(path, Grid((4, 4, 5), np.eye(4)))
    path.write_text(json.dumps({"shape": [4, 4, 4], "lesions": [{"score": 0.2, **bounds, "col_max": 4}]}))
    with pytest.raises(BreastkitError, match="does not lie in the study"):
        read_boxes(path, GRID)
    path.write_text("{}")
    with pytest.raises(BreastkitError, match="holds no boxes of a lesion detector"):
        read_boxes(path, GRID)
    with pytest.raises(BreastkitError, match="does not exist"):
        read_boxes(tmp_path / "other.json", GRID)
