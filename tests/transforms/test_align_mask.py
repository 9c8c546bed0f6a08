from functools import cache

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from breastkit.phantoms.mri import make_mri_phantom
from breastkit.transforms.align_mask import AlignMaskd, find_alignment
from breastkit.transforms.orient_breast import canonical_orientation, reorient

FLIPS = [(), (0,), (1,), (0, 1)]


@cache
def phantom(case):
    made = make_mri_phantom(21, case, shape=(72, 72, 20), phases=2)
    volumes = (made.phases[1].astype(np.float32), made.breast.astype(np.float32))
    orientation = canonical_orientation(made.affine)
    return [reorient(torch.from_numpy(volume)[None], orientation) for volume in volumes]


@pytest.mark.parametrize("case", [1, 2, 3, 4])
@pytest.mark.parametrize("axes", FLIPS)
def test_planted_flips_are_undone(case, axes):
    scan, truth = phantom(case)
    told = truth.flip([1 + axis for axis in axes])
    transform = AlignMaskd()
    result = transform({"image": scan, "label": MetaTensor(told)})
    assert torch.equal(result["label"].as_tensor(), truth)
    decision = result["label"].meta["alignment_decision"]
    assert decision["upside_down"] == (1 in axes)
    assert decision["mirrored"] == (0 in axes)
    assert torch.equal(transform.inverse(result)["label"].as_tensor(), told)


def triangle(shape=(9, 10, 3)):
    """A mask that is widest behind, on the right half, larger on the middle slice."""
    mask = np.zeros(shape, bool)
    for row, width in enumerate((4, 3, 2, 1), start=3):
        mask[:width, row, 1] = True
    mask[:4, 3, 0] = True
    return mask


def test_rules_as_they_were_described():
    mask = triangle()
    scan = np.where(mask, 100.0, 10.0)
    kept = find_alignment(scan, mask)
    assert (kept.slice, kept.in_front, kept.behind) == (1, 6, 0)
    assert (kept.dark, kept.dark_mirrored) == (0, 10)
    assert kept.axes == []
    assert find_alignment(scan, mask[:, ::-1][:, np.r_[2:10, 0:2]]).axes == [1]
    assert find_alignment(scan, mask[::-1]).axes == [0]


def test_ties_and_empty_masks_stay():
    square = np.zeros((8, 8, 2), bool)
    square[2:6, 2:6] = True
    assert find_alignment(np.zeros(square.shape), square).axes == []
    assert find_alignment(np.random.default_rng(0).random((4, 4, 4)), np.zeros((4, 4, 4))).axes == []


def test_mask_on_another_grid():
    with pytest.raises(ValueError, match="its scan"):
        AlignMaskd()({"image": torch.ones(1, 4, 4, 4), "label": torch.ones(1, 4, 4, 5)})
    assert "label" not in AlignMaskd(allow_missing_keys=True)({"image": torch.ones(1, 4, 4, 4)})
