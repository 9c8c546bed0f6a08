import numpy as np
import pytest

from breastkit.metrics import Interval, bootstrap_interval, grouped_interval, paired_test, share_interval


def test_the_interval_holds_the_mean_and_covers_as_promised():
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        interval = bootstrap_interval(random.normal(0.8, 0.1, 40), resamples=500)
        assert interval.low < interval.value < interval.high
        covered += interval.low <= 0.8 <= interval.high
    assert 85 <= covered <= 100


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(0).random(20)
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_few_or_equal_values_give_what_can_be_said():
    assert bootstrap_interval([0.7]).value == 0.7
    assert np.isnan(bootstrap_interval([0.7]).low)
    assert np.isnan(bootstrap_interval([]).value)
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)
    assert bootstrap_interval([0.5, np.nan]).value == 0.5


def test_median_can_be_asked_for():
    assert bootstrap_interval([1, 2, 9], statistic=np.median).value == 2


def test_paired_differences_are_found_where_means_alone_hide_them():
    random = np.random.default_rng(1)
    hard = random.uniform(0.2, 0.9, 25)
    result = paired_test(hard + 0.03 + random.normal(0, 0.01, 25), hard)
    assert result.cases == 25
    assert result.difference.low > 0.02
    assert result.p_value < 0.01
    assert paired_test(hard, hard).p_value == 1


def test_noise_is_not_called_a_difference():
    random = np.random.default_rng(2)
    values = [paired_test(random.random(15), random.random(15), resamples=300).p_value for _ in range(60)]
    assert np.mean(np.array(values) < 0.05) < 0.15


def test_pairs_with_a_missing_value_are_left_out_and_others_refused():
    assert paired_test([1, 2, np.nan], [1, 1, 1]).cases == 2
    assert np.isnan(paired_test([1], [0]).p_value)
    with pytest.raises(ValueError, match="pairs"):
        paired_test([1, 2], [1])


def test_text_of_an_interval():
    assert Interval(0.91234, 0.9, 0.93).text() == "0.912 (0.900–0.930)"
    assert Interval(0.5, np.nan, np.nan).text(2) == "0.50"


def test_images_of_a_group_count_as_one():
    values = np.random.default_rng(0).random(40)
    alone = grouped_interval(values, range(40))
    plain = bootstrap_interval(values)
    assert alone == pytest.approx(plain, abs=0.01)
    doubled = grouped_interval(np.repeat(values, 4), np.repeat(np.arange(40), 4))
    assert doubled == pytest.approx(alone, abs=1e-9)
    assert bootstrap_interval(np.repeat(values, 4)).high < doubled.high


def test_one_group_has_no_interval():
    interval = grouped_interval([0.5, 0.7], ["a", "a"])
    assert interval.value == pytest.approx(0.6)
    assert np.isnan(interval.low)
    assert np.isnan(grouped_interval([], []).value)


def test_a_share_of_none_is_no_certainty():
    interval = share_interval(0, 13)
    assert interval.value == 0
    assert interval.low == 0
    assert 0.15 < interval.high < 0.3
    assert np.isnan(share_interval(0, 0).value)
