"""Clinical tables as they are published, and as they come from spreadsheets of all kinds."""

import pytest
from tests.clinical.tables import made_up, write_duke

from breastkit.clinical.codes import meanings
from breastkit.clinical.features import read_features
from breastkit.clinical.table import Kind, read_clinical
from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import write_mri_phantoms


@pytest.mark.parametrize(
    ("text", "seen", "expected"),
    [
        ("{0 = neg,\n1 = pos}", "01", {"0": "neg", "1": "pos"}),
        ("GE MEDICAL SYSTEMS=0, SIEMENS=2", "02", {"0": "GE MEDICAL SYSTEMS", "2": "SIEMENS"}),
        ("1.494=0,1.5=1,2.8936=2,3=3", "013", {"0": "1.494", "1": "1.5", "2": "2.8936", "3": "3"}),
        ("1=low 2=intermediate 3=high\n", "123", {"1": "low", "2": "intermediate", "3": "high"}),
        ("{0 = a, 1 = ER/PR pos, HER2 pos,\n2 = b}", "012", {"0": "a", "1": "ER/PR pos, HER2 pos", "2": "b"}),
        ("Side of cancer L=left R=right", "LR", {"L": "left", "R": "right"}),
        ("{ -1 = TX;  0 = T0;  5 = Tis (DCIS)} \n*A remark.", ["-1", "5"], {"-1": "TX", "0": "T0", "5": "Tis (DCIS)"}),
        ("(Taking date of diagnosis as day 0)", "7", {}),
    ],
)
def test_codes_get_the_names_that_a_workbook_spells_out(text, seen, expected):
    assert meanings(text, list(seen)) == expected


def test_dukes_workbook(tmp_path):
    rows = [
        [
            f"Breast_MRI_{number:03d}", "2" if number == 1 else "1", number % 2, number % 4,
            -1 if number == 2 else number % 3, 1 + number % 3, 1, ["NA", "1", "2", "3"][number % 4],
            "NC" if number < 10 else number % 2, "NP" if number < 9 else 0,
        ]
        for number in range(1, 25)
    ]  # fmt: skip
    table = read_clinical(write_duke(tmp_path / "duke.xlsx", rows))
    assert table.patients[:2] == ("1", "2")
    assert set(table.columns) == {
        "menopause_at_diagnosis", "er", "mol_subtype", "staging_nodes_n", "tumor_grade_t",
        "tumor_grade_n", "nottingham_grade", "shape", "shape_us_features",
    }  # fmt: skip
    kinds = {name: column.kind for name, column in table.columns.items()}
    assert kinds["er"] is kinds["mol_subtype"] is kinds["shape"] is Kind.NOMINAL
    assert kinds["nottingham_grade"] is kinds["staging_nodes_n"] is kinds["tumor_grade_t"] is Kind.ORDINAL
    missing = {name: column.missing for name, column in table.columns.items()}
    assert missing["menopause_at_diagnosis"] == missing["staging_nodes_n"] == 1
    assert (missing["nottingham_grade"], missing["shape"], missing["shape_us_features"]) == (6, 9, 8)
    assert table.columns["mol_subtype"].labels["1"] == "ER/PR pos, HER2 pos"
    assert table.columns["shape"].labels["11"] == "round"
    assert [column.name for column in table.usual] == ["er", "mol_subtype", "nottingham_grade"]


@pytest.mark.parametrize("layout", ["tissue", "mamamia"])
def test_tables_of_phantoms(tmp_path, layout):
    write_mri_phantoms(str(tmp_path), cases=4, size=48, layout=layout, workers=1)
    name = "clinical.csv" if layout == "tissue" else "clinical_and_imaging_info.xlsx"
    table = read_clinical(tmp_path / name)
    assert len(table.patients) >= 4
    assert table.columns["age"].kind is Kind.NUMERIC
    assert {"er", "pr", "her2"} <= {column.name for column in table.usual}


@pytest.mark.parametrize(
    ("separator", "encoding", "decimal"), [(",", "utf-8", "."), (";", "cp1252", ","), ("\t", "utf-8-sig", ".")]
)
def test_spreadsheets_of_all_kinds_say_the_same(tmp_path, separator, encoding, decimal):
    _, clinical = made_up(20)
    clinical["größe"] = clinical["age"] + 0.5
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    clinical.to_csv(plain, index=False)
    clinical.to_csv(other, index=False, sep=separator, encoding=encoding, decimal=decimal)
    expected, found = read_clinical(plain), read_clinical(other)
    assert list(found.columns) == list(expected.columns)
    for name, column in expected.columns.items():
        assert found.columns[name].kind is column.kind
        assert found.columns[name].values.equals(column.values)
    assert found.columns["gr_e"].values["3"] % 1 == 0.5


def test_kinds_can_be_said(tmp_path):
    made_up(30)[1].to_csv(tmp_path / "t.csv", index=False)
    table = read_clinical(tmp_path / "t.csv", ordinal=["subtype"], nominal=["grade"], numeric=["er"])
    assert [table.columns[name].kind for name in ("subtype", "grade", "er")] == [
        Kind.ORDINAL,
        Kind.NOMINAL,
        Kind.NUMERIC,
    ]
    with pytest.raises(BreastkitError, match=r"t.csv has no column size; there are age, er, subtype, grade\."):
        read_clinical(tmp_path / "t.csv", ordinal=["size"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,er\nx,1\n", "has no column of patients; call it patient_id"),
        ("patient_id,er\n1,0\n1,1\n", "holds patient 1 twice, with different values of er"),
        ("patient_id,er\n,0\n,1\n", "holds no patients"),
        ("patient_id,er,ER\n1,0,1\n", "has two columns called er"),
        ("patient_id,note\n1,a,b\n", "has more cells in line 2 than names"),
        ("patient_id\n", "is no table with a row of names"),
    ],
)
def test_what_is_no_clinical_table_gets_one_sentence(tmp_path, text, sentence):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(BreastkitError, match=sentence):
        read_clinical(tmp_path / "t.csv")


def test_a_damaged_workbook_and_no_file(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(BreastkitError, match="cannot be read as a workbook"):
        read_clinical(tmp_path / "t.xlsx")
    with pytest.raises(BreastkitError, match="does not exist"):
        read_clinical(tmp_path / "none.csv")


def test_the_same_row_twice_and_columns_that_say_nothing(tmp_path):
    (tmp_path / "t.csv").write_text("patient_id,er,nothing,same\nDUKE_001,1,NA,4\nDUKE_001,1,NA,4\n2.0,0,,4\n")
    table = read_clinical(tmp_path / "t.csv")
    assert table.patients == ("1", "2")
    assert table.columns["er"].values.tolist() == [1, 0]
    assert table.columns["nothing"].missing == 2
    assert table.columns["same"].values.nunique() == 1


def test_patients_of_several_sets_that_end_in_the_same_number(tmp_path):
    """As in MAMA-MIA's own table: DUKE_001 and NACT_01 are two women."""
    (tmp_path / "t.csv").write_text("patient_id,er\nDUKE_001,1\nNACT_01,0\nDUKE_002,1\n")
    (tmp_path / "f.csv").write_text("patient_id,a\nduke_1,1\nnact_1,2\nduke_2,3\n")
    table = read_clinical(tmp_path / "t.csv")
    features = read_features(tmp_path / "f.csv", patient=table.patient)
    assert table.patients == tuple(features.index) == ("duke_1", "nact_1", "duke_2")
    with pytest.raises(BreastkitError, match="duke_1 and nact_1, which end in the same number"):
        read_features(tmp_path / "f.csv")


def test_grades_in_words_rise(tmp_path):
    rows = [f"{number},{('high', 'low', 'intermediate')[number % 3]},NA" for number in range(1, 10)]
    (tmp_path / "t.csv").write_text("patient_id,grade,her2\n" + "\n".join(rows) + "\n")
    table = read_clinical(tmp_path / "t.csv")
    assert table.columns["grade"].kind is Kind.ORDINAL
    assert list(table.columns["grade"].names.values()) == ["low", "intermediate", "high"]
    assert table.columns["her2"].missing == 9
