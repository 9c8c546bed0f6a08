"""The baseline finds what is there, and says so plainly where nothing is."""

from dataclasses import replace

import pytest
from tests.clinical.test_correlate import tables

from breastkit.clinical.predict import predict
from breastkit.clinical.table import Column
from breastkit.errors import BreastkitError


def test_what_is_planted_is_found_and_chance_is_called_chance(tmp_path):
    measured, table = tables(tmp_path, count=80, planted=0.9)
    column = table.columns["grade"]
    # Two classes take half the time of three.
    high = Column("high", "high", column.kind, (column.values > 2).astype(float), {0.0: "no", 1.0: "yes"})
    classes, found = predict(measured, high, permutations=4)
    assert set(classes) == {"no", "yes"}
    for each in found:
        assert each.auc.low < each.auc.value < each.auc.high
        assert each.auc.value > 0.8 and each.p == pytest.approx(1 / 5)
        assert each.importance.index[0] == "volume_voxels"
        assert each.probabilities.sum(axis=1).to_numpy() == pytest.approx(1)
        assert replace(each, p=0.01).is_better_than_chance and not each.is_better_than_chance
    _, found = predict(measured, table.columns["er"], permutations=4)
    assert not any(replace(each, p=0.01).is_better_than_chance for each in found)


def test_what_cannot_be_predicted_gets_one_sentence(tmp_path):
    measured, table = tables(tmp_path, count=60)
    with pytest.raises(BreastkitError, match="age holds numbers"):
        predict(measured, table.columns["age"])
    with pytest.raises(BreastkitError, match="fewer than two categories with 10 patients"):
        predict(measured.head(12), table.columns["er"])
    with pytest.raises(BreastkitError, match="No feature varies"):
        predict(measured * 0, table.columns["er"])
