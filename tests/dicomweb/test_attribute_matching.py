"""How the values of a query match those of a header."""

import pytest

from breastkit.dicomweb.attribute_matching import attribute_named, matches
from breastkit.errors import BreastkitError


def answer(name, value, wanted, *, fuzzy=False):
    tag, vr = attribute_named(name)
    values = value if isinstance(value, list) else [{"Alphabetic": value} if vr == "PN" else value]
    return matches({tag: {"vr": vr, "Value": values}}, tag, vr, wanted, fuzzy=fuzzy)


@pytest.mark.parametrize(
    ("name", "value", "wanted", "expected"),
    [
        ("PatientID", "MRI_007", "MRI_007", True),
        ("PatientID", "MRI_007", "MRI_00", False),
        ("PatientID", "MRI_007", "mri_007", True),
        ("PatientID", "MRI_007", "*_00?", True),
        ("PatientID", "MRI_007", "*8*", False),
        ("PatientID", "MRI_007", "", True),
        ("PatientID", "MRI_007", "*", True),
        ("PatientID", "a.c", "abc", False),
        ("PatientID", "abab", "*ab", True),
        ("PatientID", "ab", "ab*b", False),
        ("PatientID", "x" * 64, "*x" * 30 + "y", False),
        ("Modality", "MR", "MR", True),
        ("Modality", "MR", "mr", False),
        ("StudyInstanceUID", "1.2.3", "1.2.3", True),
        ("StudyInstanceUID", "1.2.3", "1.2.4,1.2.3", True),
        ("StudyInstanceUID", "1.2.3", "1.2.4\\1.2.3", True),
        ("StudyInstanceUID", "1.2.3", "1.2.*", False),
        ("StudyDate", "20200102", "20200102", True),
        ("StudyDate", "20200102", "20200101-20200103", True),
        ("StudyDate", "20200102", "20200103-", False),
        ("StudyDate", "20200102", "-20200102", True),
        ("StudyDate", "20200102", "20190101-20191231", False),
        ("StudyTime", "101530.123", "10-11", True),
        ("StudyTime", "101530.123", "11-", False),
        ("SeriesNumber", 3, "3", True),
        ("SeriesNumber", 3, "03", True),
        ("SeriesNumber", 3, "three", False),
        ("PatientName", "Doe^Jane", "DOE*", True),
        ("PatientName", "Doe^Jane", "Doe^Jane", True),
        ("PatientName", "Doe^Jane^^^", "Doe^Jane", True),
        ("PatientName", "Doe^Jane", "Jane", False),
        ("PatientName", "Doe^Jane", "*jan*", True),
        ("ImageType", ["DERIVED", "PRIMARY"], "PRIMARY", True),
    ],
)
def test_exact_lists_wildcards_and_ranges(name, value, wanted, expected):
    assert answer(name, value, wanted) is expected


def test_fuzzy_names_match_by_the_beginnings_of_their_words():
    assert answer("PatientName", "Doe^Jane", "jan do", fuzzy=True)
    assert not answer("PatientName", "Doe^Jane", "ane", fuzzy=True)
    assert not answer("PatientName", "Doe^Jane", "jan do", fuzzy=False)


def test_what_a_header_lacks_matches_only_an_empty_wish():
    assert matches({}, "00100020", "LO", "")
    assert not matches({}, "00100020", "LO", "x")


def test_attributes_go_by_keyword_or_tag():
    assert attribute_named("PatientID") == attribute_named("00100020") == ("00100020", "LO")
    for name in ("Nonsense", "99999999", "0010002", "$(touch x)"):
        with pytest.raises(BreastkitError, match="is no attribute of DICOM"):
            attribute_named(name)
