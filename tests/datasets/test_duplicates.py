import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from breastkit.datasets.duplicates import (
    THUMBNAIL_SIZE,
    duplicate_groups,
    identical_images,
    near_duplicate_pairs,
    thumbnail,
)


def texture(seed, shape=(160, 200)):
    values = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 6)
    return np.interp(values, (values.min(), values.max()), (0, 255)).astype(np.uint8)


def test_a_thumbnail_keeps_the_mean_and_takes_any_size():
    for shape in [(160, 200), (1, 1), (48, 48), (7, 500)]:
        image = texture(0, shape) if min(shape) > 1 else np.full(shape, 9, np.uint8)
        small = thumbnail(image)
        assert small.shape == (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        assert small.mean() == pytest.approx(image.mean(), abs=8)


def test_brighter_noisier_and_rescaled_copies_are_found_and_others_are_not():
    image = texture(1).astype(float)
    noisy = image * 0.6 + 30 + np.random.default_rng(0).normal(0, 4, image.shape)
    rescaled = np.kron(image, np.ones((2, 2)))
    others = [texture(seed) for seed in range(2, 12)]
    pairs = near_duplicate_pairs([thumbnail(each) for each in [image, *others, noisy, rescaled]])
    assert [(i, j) for i, j, _ in pairs] == [(0, 11), (0, 12), (11, 12)]
    assert all(0.98 <= r <= 1.0001 for *_, r in pairs)


def test_pairs_agree_with_numpy_over_more_images_than_one_block():
    """The matrix is worked off in blocks of rows; none of the pairs across blocks may be lost."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(1100, 6))
    expected = np.argwhere(np.triu(np.corrcoef(vectors) >= 0.9, 1))
    found = near_duplicate_pairs(vectors, threshold=0.9)
    assert {(i, j) for i, j, _ in found} == set(map(tuple, expected.tolist()))
    assert found == sorted(found)


def test_constant_images_correlate_with_nothing():
    black, white = np.zeros((48, 48)), np.full((48, 48), 255.0)
    assert near_duplicate_pairs([black, white, black, thumbnail(texture(1))]) == []
    assert near_duplicate_pairs([]) == [] == near_duplicate_pairs([black])


def test_groups_are_transitive():
    base = texture(5).astype(float)
    chain = [thumbnail(shift(base, (0, step), mode="reflect")) for step in range(24)]
    pairs = near_duplicate_pairs(chain)
    assert (0, len(chain) - 1) not in {(i, j) for i, j, _ in pairs}
    assert duplicate_groups(pairs, len(chain)) == [0] * len(chain)
    assert duplicate_groups([(0, 3), (3, 1)], 5) == [0, 0, 1, 0, 2]
    assert duplicate_groups([], 3) == [0, 1, 2]


def test_identical_images_need_every_pixel_and_the_shape():
    image = texture(7)
    almost = image.copy()
    almost[3, 4] ^= 1
    assert identical_images([image, almost, image.copy(), image.T.reshape(image.shape)]) == [[0, 2]]
    assert identical_images([np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)]) == []
