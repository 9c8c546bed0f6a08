"""Statistics of features against clinical variables: those of scipy, and honest over many tables."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.clinical.tables import made_up

from breastkit.clinical.correlate import COLUMNS, adjusted, correlations
from breastkit.clinical.features import read_features
from breastkit.clinical.table import read_clinical
from breastkit.errors import BreastkitError
from breastkit.phantoms.mri.clinical import COLUMNS as PHANTOM_COLUMNS
from breastkit.phantoms.mri.clinical import SUBTYPES, clinical_record, draw_age, draw_subtype


def tables(folder, **options):
    features, clinical = made_up(**options)
    features.to_csv(folder / "features.csv", index=False)
    clinical.to_csv(folder / "clinical.csv", index=False)
    return read_features(folder / "features.csv"), read_clinical(folder / "clinical.csv")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Everything against everything, with what was planted, and the tables."""
    measured, table = tables(tmp_path_factory.mktemp("t"), planted=0.8)
    return correlations(measured, list(table.columns.values()), resamples=200), measured, table


def row_of(table, variable, feature="volume_voxels"):
    return table[(table["variable"] == variable) & (table["feature"] == feature)].iloc[0]


def test_each_kind_gets_its_statistic(found):
    table, measured, clinical = found
    assert tuple(table.columns) == COLUMNS
    x = measured["volume_voxels"]
    codes = {name: column.values.reindex(x.index) for name, column in clinical.columns.items()}
    expected = {
        "age": stats.spearmanr(x, codes["age"]),
        "grade": stats.spearmanr(x, codes["grade"]),
        "er": stats.mannwhitneyu(x[codes["er"] == 0], x[codes["er"] == 1]),
        "subtype": stats.kruskal(*(x[codes["subtype"] == code] for code in range(3))),
    }
    for name, test in expected.items():
        assert row_of(table, name)["p"] == pytest.approx(test.pvalue), name
        assert row_of(table, name)["pearson"] == pytest.approx(np.corrcoef(x, codes[name])[0, 1]), name
    assert row_of(table, "grade")["effect"] == pytest.approx(expected["grade"].statistic)
    ranks = stats.rankdata(x)
    larger, smaller = (ranks[codes["er"] == code].mean() for code in (1, 0))
    assert row_of(table, "er")["effect"] == pytest.approx(2 * (larger - smaller) / len(x))
    assert row_of(table, "subtype")["effect"] == pytest.approx(expected["subtype"].statistic / (len(x) - 1))
    assert (table["low"] <= table["effect"] + 0.03).all() and (table["effect"] <= table["high"] + 0.03).all()


def test_what_was_planted_stands_out_and_nothing_else(found):
    table, *_ = found
    standing_out = table[table["p_adjusted"] < 0.05]
    assert list(zip(standing_out["feature"], standing_out["variable"], strict=True)) == [("volume_voxels", "grade")]
    assert row_of(table, "grade")["low"] > 0.5


def test_where_there_is_nothing_little_is_found(tmp_path):
    """Over 200 tables without any association adjusted p values below 0.05 are met in at most 7 %."""
    random = np.random.default_rng(4)
    measured, table = tables(tmp_path, count=60)
    false = 0
    for _ in range(200):
        shuffled = measured.set_axis(random.permutation(measured.index))
        false += bool((correlations(shuffled, table.usual, resamples=0)["p_adjusted"] < 0.05).any())
    assert false / 200 <= 0.07


def test_adjusting_leaves_out_what_was_not_tested():
    p_values = np.array([0.01, np.nan, 0.04])
    np.testing.assert_allclose(adjusted(p_values), [0.02, np.nan, 0.04])


def test_small_groups_and_what_does_not_vary_are_said(tmp_path):
    rows = [{"patient_id": number, "same": 3, "volume_voxels": number} for number in range(1, 31)]
    pd.DataFrame(rows).to_csv(tmp_path / "f.csv", index=False)
    group = [f"{number},{'a' if number < 26 else 'b'},1" for number in range(1, 31)]
    (tmp_path / "c.csv").write_text("patient_id,her2,pr\n" + "\n".join(group) + "\n")
    table = correlations(read_features(tmp_path / "f.csv"), list(read_clinical(tmp_path / "c.csv").columns.values()))
    assert row_of(table, "her2")["warning"] == "fewer than 10 patients: b"
    assert row_of(table, "her2")["effect"] == 1.0
    assert row_of(table, "pr")["warning"] == row_of(table, "her2", "same")["warning"] == "no variation"
    assert table["p"].isna().sum() == 3


@pytest.mark.parametrize(("lesions", "expected"), [("best", [7, 5]), ("largest", [9, 5]), ("all", [9, 7, 5])])
def test_of_several_lesions(tmp_path, lesions, expected):
    (tmp_path / "f.csv").write_text("patient_id,score,volume_mm3\np01,0.2,9\np01,0.8,7\np02,0.5,5\n")
    assert read_features(tmp_path / "f.csv", lesions=lesions)["volume_mm3"].tolist() == expected


def test_values_that_are_no_numbers_are_missing(tmp_path):
    (tmp_path / "f.csv").write_text('patient_id;a;max_intensity;note\n1;"1,5";inf;x\n2;nan;3;y\n')
    table = read_features(tmp_path / "f.csv")
    assert list(table) == ["max_intensity", "a"]
    assert table["a"].tolist()[0] == 1.5
    assert table.isna().sum().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("name,a\nx,1\n", "has no column patient_id"), ("patient_id,a\n1,x\n", "holds no patient with a number")],
)
def test_what_is_no_table_of_features(tmp_path, text, sentence):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(BreastkitError, match=sentence):
        read_features(tmp_path / "f.csv")


def test_what_phantoms_plant_is_recovered(tmp_path):
    """In the clinical table of phantoms grade and subtype go with size, and age with nothing but the subtype."""
    random, rows = np.random.default_rng(2), []
    for number in range(1, 121):
        subtype = draw_subtype(random)
        size = float(random.lognormal(np.log(SUBTYPES[subtype].diameter_mm), 0.35))
        age = draw_age(random, subtype)
        record = clinical_record(random, patient=f"case_{number:03d}", subtype=subtype, age=age, largest_mm=size)
        rows.append({**record, "volume_voxels": size**3, "mean_intensity": random.normal()})
    table = pd.DataFrame(rows)
    table[["patient_id", "volume_voxels", "mean_intensity"]].to_csv(tmp_path / "f.csv", index=False)
    table[list(PHANTOM_COLUMNS)].to_csv(tmp_path / "c.csv", index=False)
    found = correlations(read_features(tmp_path / "f.csv"), read_clinical(tmp_path / "c.csv").usual, resamples=0)
    for variable in ("er", "subtype", "grade"):
        assert row_of(found, variable)["p_adjusted"] < 0.01, variable
    assert (found.loc[found["feature"] == "mean_intensity", "p_adjusted"] > 0.05).all()
