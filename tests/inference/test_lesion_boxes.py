import json

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from tests.bundles.tiny import AFFINE

from breastkit.detection import Candidate
from breastkit.inference import LesionBoxes, ReadableCases
from breastkit.inference.inputs import Inputs

SHAPE = (40, 40, 12)


def candidate(score, first, column):
    """A candidate of three slices, in pixels of squares of 80 that hold slices of 40 by 40."""
    boxes = np.array([[2 * column, 20, 2 * column + 8, 28, score]] * 3, float)
    return Candidate(score, (first, first + 1, first + 2), boxes)


def test_so_many_candidates_are_told_of_those_in_the_breast(tmp_path):
    """The best ones lie outside; leaving them out must not leave fewer than were asked for."""
    breast = np.zeros(SHAPE, np.uint8)
    breast[:20] = 1
    nibabel.save(nibabel.Nifti1Image(breast, AFFINE), tmp_path / "breast.nii.gz")
    inputs = Inputs([{"image": [], "name": "x"}], [])
    writer = LesionBoxes(
        tmp_path,
        inputs=inputs,
        dataset=ReadableCases(inputs.items, dict),
        breast_mask=tmp_path / "breast.nii.gz",
        most=2,
    )
    scan = MetaTensor(torch.zeros(1, *SHAPE), affine=torch.from_numpy(AFFINE), meta={"filename_or_obj": "x"})
    found = [candidate(0.9, 1, 30), candidate(0.8, 5, 34), candidate(0.7, 1, 4), candidate(0.6, 5, 8)]
    found.append(candidate(0.5, 8, 12))
    writer.write_input({"name": "x", "scan": scan, "image": torch.zeros(3, 80, 80, 12)}, {"pred": found})
    told = json.loads((tmp_path / "x_boxes.json").read_text())["lesions"]
    assert [lesion["score"] for lesion in told] == [0.7, 0.6]
