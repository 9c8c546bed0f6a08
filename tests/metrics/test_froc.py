import numpy as np
import pytest

from breastkit.metrics.froc import CaseFindings, found_by_size, froc_curve, sensitivity_at, sensitivity_interval

NAN = float("nan")
# Three lesions, of which one is never hit; false candidates at 0.8 and 0.4.
CASES = [
    CaseFindings((0.9,), (0.8,), (5.0,)),
    CaseFindings((0.5, NAN), (0.4,), (15.0, 30.0)),
]


def test_curve_by_hand():
    scores, rates, sensitivity = froc_curve(CASES)
    assert scores.tolist() == [0.9, 0.8, 0.5, 0.4]
    assert rates.tolist() == [0, 0.5, 0.5, 1.0]
    assert sensitivity.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_sensitivity_at_rates():
    assert sensitivity_at(CASES, 0) == pytest.approx(1 / 3)
    assert sensitivity_at(CASES, 0.5) == pytest.approx(2 / 3)
    assert sensitivity_at(CASES, 8) == pytest.approx(2 / 3)
    assert np.isnan(sensitivity_at([CaseFindings((), (0.5,))], 1))


def test_intervals_are_of_cases_and_repeatable():
    cases = [CaseFindings((0.9,), (0.1,))] * 12 + [CaseFindings((NAN,), (0.5,))] * 8
    interval = sensitivity_interval(cases, 1.0)
    assert interval.value == pytest.approx(0.6)
    assert 0.3 < interval.low < 0.6 < interval.high < 0.85
    assert sensitivity_interval(cases, 1.0) == interval
    assert np.isnan(sensitivity_interval(cases[:1], 1.0).low)


def test_sizes():
    assert found_by_size(CASES, (10, 20), rate=0.5) == [(0, 10, 1, 1), (10, 20, 1, 1), (20, np.inf, 0, 1)]


def test_a_curve_needs_a_case():
    with pytest.raises(ValueError, match="at least one case"):
        froc_curve([])
