import numpy as np
import pytest
import torch

from breastkit.dce.phases import DcePhases
from breastkit.dce.voxel_box import Grid
from breastkit.detection import detect_lesions

SIDE, SLICES = 128, 40


class BrightParts:
    """Finds one box a slice, around what is bright in the subtraction, and remembers what it was shown."""

    def __call__(self, image):
        self.size = tuple(image.shape[2:4])
        bright = (image[0, 2] > 0.9).permute(2, 0, 1)
        self.shown = set(torch.nonzero(image[0].flatten(0, 2).amax(0) > 0).flatten().tolist())
        output = torch.zeros(len(bright), 5, 1)
        for answer, part in zip(output, bright, strict=True):
            rows, columns = torch.nonzero(part, as_tuple=True)
            if len(rows):
                y0, y1, x0, x1 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
                answer[:, 0] = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0.9])
        return output.permute(1, 2, 0)[None]


@pytest.fixture(params=[(-1, -1, 1), (1, 1, -1)])
def phases(request):
    """Two balls take up contrast; the affine says which way the own grid points."""
    axes = np.meshgrid(np.arange(SLICES), np.arange(SIDE), np.arange(SIDE), indexing="ij")
    pre = np.random.default_rng(0).normal(100, 5, (SLICES, SIDE, SIDE)).astype(np.float32)
    post = pre.copy()
    for centre in ((10, 50, 80), (30, 84, 60)):
        post[sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) < 16] += 200
    affine = np.diag([*(2.0 * sign for sign in request.param), 1.0])
    return DcePhases([pre, post], Grid((SIDE, SIDE, SLICES), affine), ())


def mask_of(phases, first, last, rows=slice(None), columns=slice(None)):
    breast = np.zeros((SLICES, SIDE, SIDE), np.uint8)
    breast[first : last + 1, rows, columns] = 1
    return phases.restore(breast)


def slices_of(lesion, phases):
    return sorted(box.on(phases.grid.axial).low[0] for box in lesion.boxes)


def test_without_a_breast_mask_all_slices_are_looked_at(phases):
    network = BrightParts()
    found = detect_lesions(phases, network, image_size=SIDE)
    assert network.shown == set(range(SLICES))
    assert sorted(slices_of(lesion, phases)[3] for lesion in found) == [10, 30]
    assert detect_lesions(phases, network, image_size=SIDE, breast=mask_of(phases, 1, 0)) == found
    assert network.shown == set(range(SLICES))


def test_with_one_its_slices_and_what_touches_it(phases):
    everywhere, network = detect_lesions(phases, BrightParts(), image_size=SIDE), BrightParts()
    # The mask ends in the middle of a ball; three slices more are looked at, so that the whole of it is seen.
    found = detect_lesions(phases, network, image_size=SIDE, breast=mask_of(phases, 2, 10))
    assert network.shown == set(range(14))
    assert found == [lesion for lesion in everywhere if 10 in slices_of(lesion, phases)]
    assert detect_lesions(phases, BrightParts(), image_size=SIDE, breast=mask_of(phases, 18, 20)) == []


def test_slices_are_cut_to_the_box_around_the_breasts(phases):
    everywhere, network = detect_lesions(phases, BrightParts(), image_size=SIDE), BrightParts()
    breast = mask_of(phases, 0, SLICES - 1, slice(46, 84), slice(52, 100))
    assert detect_lesions(phases, network, image_size=SIDE, breast=breast) == everywhere
    # Rows 32 to 96, columns 32 to 128: a margin of 12 pixels, and on to the next multiple of 32.
    assert network.size == (64, 96)
