import numpy as np

from breastkit.findings.ultrasound_csv import rounded


def test_rounded_probabilities_sum_to_one():
    for seed in range(50):
        values = np.random.default_rng(seed).dirichlet([1, 1, 1])
        few = rounded(dict(zip("abc", values, strict=True)))
        assert round(sum(few.values()), 9) == 1
        assert all(abs(few[name] - value) < 2e-4 for name, value in zip("abc", values, strict=True))
