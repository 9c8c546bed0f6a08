import pytest

from benchmarks.alignment import FLIPS, alignment_recovery


def test_shares_are_counted_by_flip():
    figures = alignment_recovery(cases=2, seed=21, shape=(72, 72, 20), workers=1)
    assert list(figures) == [*FLIPS, "overall"]
    assert set(figures.values()) == {1.0}


def test_a_flip_that_does_not_show_counts_as_wrong(monkeypatch):
    monkeypatch.setattr("breastkit.transforms.align_mask.DARKEST", 100.0)
    figures = alignment_recovery(cases=1, seed=21, shape=(72, 72, 20), workers=1)
    assert [figures[flip] for flip in FLIPS] == pytest.approx([1, 1, 0, 0])
    assert figures["overall"] == pytest.approx(0.5)
