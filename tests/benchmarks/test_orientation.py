import pytest

from benchmarks import orientation
from breastkit.transforms.orient_breast import PRESETS


def test_shares_are_counted_by_lie(monkeypatch):
    monkeypatch.setattr(orientation, "SHAPE", (48, 48, 24))
    figures = orientation.orientation_recovery(cases=2, seed=7, workers=1)
    assert set(figures) == set(PRESETS)
    for shares in figures.values():
        lies = [shares[name] for name in ("none", "rows", "slices", "rows and slices")]
        assert set(lies) <= {0.0, 0.5, 1.0}
        assert shares["overall"] == pytest.approx(sum(lies) / 4)
    assert figures["default"]["overall"] == 1.0
