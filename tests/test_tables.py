"""Rows as a CSV file."""

import csv

import numpy as np
import pandas as pd
import pytest

from breastkit.tables import write_table


def test_what_is_missing_is_an_empty_field_and_whole_numbers_stay_whole(tmp_path):
    rows = [{"name": "a, b", "area": 3, "p": 0.1}, {"name": 'say "c"', "area": None, "p": float("nan")}, {"p": 1 / 3}]
    path = write_table(tmp_path / "table.csv", rows)
    assert path.read_text().splitlines() == ["name,area,p", '"a, b",3,0.1', '"say ""c""",,', f",,{1 / 3!r}"]


def test_columns_are_those_asked_for(tmp_path):
    path = write_table(tmp_path / "table.csv", [{"a": 1, "b": 2}, {"b": 3, "c": 4}], ["c", "b"])
    assert path.read_text() == "c,b\n,2\n4,3\n"
    assert write_table(path, [(1, "x")], ("c", "b")).read_text() == "c,b\n1,x\n"
    assert write_table(path, [], ("c", "b")).read_text() == "c,b\n"


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.bool_])
def test_numbers_come_back_as_they_were(tmp_path, kind):
    values = np.asarray([0.1, 7.25, 1.0]).astype(kind)
    path = write_table(tmp_path / "table.csv", [{"value": value} for value in values])
    with path.open() as file:
        assert [row["value"] for row in csv.DictReader(file)] == [str(value.item()) for value in values]
    assert (pd.read_csv(path)["value"].to_numpy().astype(kind) == values).all()
