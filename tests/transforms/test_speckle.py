import numpy as np
import torch

from breastkit.transforms import RandSpeckled


def test_black_stays_black_and_tissue_varies_about_its_mean():
    image = torch.zeros(1, 64, 64)
    image[:, 16:48] = 0.5
    transform = RandSpeckled("image", prob=1.0, strength=(0.2, 0.2)).set_random_state(0)
    result = transform({"image": image})["image"]
    assert not result[:, :16].any()
    tissue = result[:, 16:48]
    assert 0.07 < tissue.std() < 0.13
    assert abs(tissue.mean() - 0.5) < 0.03
    assert image[0, 20, 20] == 0.5


def test_grains_are_longer_across_the_beam():
    transform = RandSpeckled("image", prob=1.0, grain=(1.0, 1.0), elongation=(3.0, 3.0)).set_random_state(0)
    noise = transform({"image": torch.ones(1, 96, 96)})["image"][0].numpy() - 1
    along, across = (
        np.corrcoef(noise[:-3].ravel(), noise[3:].ravel()),
        np.corrcoef(noise[:, :-3].ravel(), noise[:, 3:].ravel()),
    )
    assert across[0, 1] > along[0, 1] + 0.3


def test_the_seed_decides_and_probability_zero_does_nothing():
    image = torch.rand(1, 16, 16)
    first, second = (RandSpeckled("image", prob=1.0).set_random_state(3)({"image": image})["image"] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, image)
    assert torch.equal(RandSpeckled("image", prob=0.0)({"image": image})["image"], image)
