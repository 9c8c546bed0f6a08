import numpy as np
import torch

from breastkit.transforms import RandMaskErrorsd
from breastkit.transforms.mask_errors import spoil


def disc(radius=12, size=64):
    y, x = np.mgrid[:size, :size]
    return (y - 30) ** 2 + (x - 34) ** 2 <= radius**2


def test_growing_shrinking_and_shifting_are_shares_of_the_diameter():
    mask = disc()
    grown, shrunk = spoil(mask, border=0.125, shift=(0, 0)), spoil(mask, border=-0.125, shift=(0, 0))
    assert abs(np.sqrt(grown.sum() / mask.sum()) - 15 / 12) < 0.03
    assert abs(np.sqrt(shrunk.sum() / mask.sum()) - 9 / 12) < 0.03
    moved = spoil(mask, border=0, shift=(0.125, -0.25))
    assert np.array_equal(moved, np.roll(mask, (3, -6), axis=(0, 1)))


def test_masks_stay_masks_and_an_empty_one_stays_empty():
    transform = RandMaskErrorsd("mask", prob=1.0, lost=0.0)
    transform.set_random_state(0)
    for mask in (torch.from_numpy(disc().astype(np.float32))[None], torch.zeros(1, 64, 64)):
        spoilt = transform({"mask": mask})["mask"]
        assert spoilt.shape == mask.shape
        assert spoilt.dtype == torch.float32
        assert set(spoilt.unique().tolist()) <= {0.0, 1.0}
        assert bool(spoilt.any()) == bool(mask.any())


def test_some_are_lost_and_some_left_alone():
    transform = RandMaskErrorsd("mask", prob=0.5, lost=0.2)
    transform.set_random_state(0)
    mask = torch.from_numpy(disc().astype(np.float32))[None]
    results = [transform({"mask": mask})["mask"] for _ in range(300)]
    assert 0.12 < np.mean([not result.any() for result in results]) < 0.28
    assert 0.3 < np.mean([torch.equal(result, mask) for result in results]) < 0.5


def test_the_same_state_spoils_alike():
    mask = torch.from_numpy(disc().astype(np.float32))[None]
    once, again = (RandMaskErrorsd("mask", prob=1.0).set_random_state(7)({"mask": mask})["mask"] for _ in range(2))
    assert torch.equal(once, again)
