"""The benchmark of glands measures phantoms of both kinds, and reads a reader's slices."""

from benchmarks.gland import dice_on_phantoms


def test_phantoms_of_both_kinds_are_measured():
    found = dice_on_phantoms(cases=1, seed=3)
    assert list(found) == ["usual", "varied"]
    for one in found.values():
        assert one["cases"] == 1 and 0 <= one["dice"]["value"] <= 1 and one["volume_ratio"] >= 0
