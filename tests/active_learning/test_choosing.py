import numpy as np
import pytest

from breastkit.active_learning import Choice, Pool, choose

BY_MERIT = [Choice.UNCERTAINTY, Choice.DIVERSITY, Choice.MIX]


def pool(places, *, uncertainty=None, labelled=(), thumbnails=None):
    """Images at places on a line; thumbnails of noise resemble none."""
    count = len(places)
    if thumbnails is None:
        thumbnails = np.random.default_rng(0).normal(size=(count, 400))
    return Pool(
        labelled=np.isin(np.arange(count), labelled),
        uncertainty=np.zeros(count) if uncertainty is None else np.asarray(uncertainty, dtype=float),
        features=np.asarray(places, dtype=float)[:, None],
        thumbnails=thumbnails,
    )


def test_the_first_ones_without_label_in_the_order_of_the_list():
    assert choose(pool([0, 1, 2, 3, 4], labelled=[0, 2]), Choice.FIRST, 2) == [1, 3]


def test_a_seed_gives_the_same_random_images_and_another_others():
    images = pool(range(50), labelled=range(10))
    draws = [choose(images, Choice.RANDOM, 8, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 8
    assert min(draws[0]) >= 10


def test_the_least_sure_come_first():
    assert choose(pool(range(4), uncertainty=[0.1, 0.9, 0.3, 0.9]), Choice.UNCERTAINTY, 4) == [1, 3, 2, 0]


def test_diversity_takes_the_farthest_from_all_labelled_and_then_from_those_taken():
    # With 0 labelled 10 is farthest; then 5 lies farther from both than 9 does from 10.
    assert choose(pool([0, 5, 9, 10], labelled=[0]), Choice.DIVERSITY, 3) == [3, 1, 2]


def test_diversity_begins_with_what_is_most_like_all_others():
    assert choose(pool([0, 4, 5, 10]), Choice.DIVERSITY, 2) == [2, 0]


def test_no_channel_outweighs_the_others():
    features = np.array([[0, 0], [0, 1], [900, 0.1], [0, 0.5]])
    images = Pool(
        np.array([True, False, True, False]), np.zeros(4), features, np.random.default_rng(0).normal(size=(4, 99))
    )
    assert choose(images, Choice.DIVERSITY) == [1]


def test_the_mix_takes_the_farthest_and_leaves_the_surest_quarter_for_last():
    # The last is farthest, but the model is surest of it.
    images = pool([0, 1, 1.5, 8, 9], uncertainty=[0, 0.9, 0.3, 0.8, 0.1], labelled=[0])
    assert choose(images, Choice.UNCERTAINTY) == [1]
    assert choose(images, Choice.DIVERSITY) == [4]
    assert choose(images, Choice.MIX, 4) == [3, 2, 1, 4]


@pytest.mark.parametrize("how", BY_MERIT)
def test_near_duplicates_of_what_is_labelled_come_last(how):
    thumbnails = np.random.default_rng(0).normal(size=(4, 400))
    thumbnails[3] = thumbnails[0] * 2 + 5 + np.random.default_rng(1).normal(0, 0.3, 400)
    images = pool([0, 1, 2, 9], uncertainty=[0, 0.1, 0.2, 0.9], labelled=[0], thumbnails=thumbnails)
    assert choose(images, how, 3)[-1] == 3
    assert set(choose(images, how, 3)) == {1, 2, 3}


@pytest.mark.parametrize("how", BY_MERIT)
def test_of_two_that_resemble_each_other_one_is_taken_first_and_one_last(how):
    thumbnails = np.random.default_rng(0).normal(size=(4, 400))
    thumbnails[3] = thumbnails[2]
    images = pool([0, 1, 8, 8], uncertainty=[0, 0.1, 0.8, 0.8], labelled=[0], thumbnails=thumbnails)
    assert choose(images, how, 3) == [2, 1, 3]


@pytest.mark.parametrize("how", list(Choice))
def test_what_is_labelled_is_never_chosen_and_all_else_once(how):
    images = pool([3, 1, 4, 1, 5, 9, 2, 6], uncertainty=np.linspace(0, 1, 8), labelled=[1, 6])
    assert sorted(choose(images, how, 100)) == [0, 2, 3, 4, 5, 7]
    assert choose(pool([1, 2], labelled=[0, 1]), how) == []
