"""The conformance statement says what is true: of the tables in the code, and of objects that are written."""

from pathlib import Path

import pydicom
import pytest
from tests.findings.test_dicom_writers import clip_of, mri_of, written, written_clip

from breastkit.dicom.conformance import READ, WRITTEN, classes_table, codes_table

STATEMENT = Path(__file__).parents[2] / "tools" / "docs" / "conformance" / "README.md"
# Prescribed by the templates: names of rows (finding site, finding category, laterality, source), the language, and the
# unit of a direction.
OF_TEMPLATES = {
    *(("SCT", value) for value in ("363698007", "272741003", "106233006", "276214006", "260753009")),
    ("RFC5646", "en-US"),
    ("UCUM", "{-1:1}"),
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Every object that is written of a study without symmetry, of a picture and of a clip."""
    folder = tmp_path_factory.mktemp("made")
    folders = [written(mri_of(folder / "mri", lesions=2), folder / "of_mri", None)]
    for frames in (1, 3):
        (folder / f"us{frames}").mkdir()
        folders.append(written_clip(clip_of(folder / f"us{frames}", frames=frames), folder / f"of_us{frames}", None))
    return [pydicom.dcmread(path) for each in folders for path in sorted(each.glob("*.dcm"))]


@pytest.mark.parametrize("table", [classes_table(READ), classes_table(WRITTEN), codes_table()], ids=["r", "w", "codes"])
def test_the_statement_has_the_tables_of_the_code(table):
    text = STATEMENT.read_text(encoding="utf-8")
    assert f"\n\n{table}\n\n" in text, (
        "run python -m breastkit.dicom.conformance, and put its tables into the statement"
    )


def test_every_object_is_of_a_class_that_is_stated(objects):
    assert {one.SOPClassUID for one in objects} == set(WRITTEN["results"])


def test_no_object_has_a_private_attribute(objects):
    assert not [element for one in objects for element in one.iterall() if element.tag.is_private]


def test_every_code_is_stated(objects):
    stated = {tuple(line.split(" | ")[:2]) for line in codes_table().splitlines()[2:]}
    stated = {(scheme.removeprefix("| "), value.strip("`")) for scheme, value in stated}
    used = {
        (item.CodingSchemeDesignator, item.CodeValue)
        for one in objects
        for element in one.iterall()
        if element.VR == "SQ"
        for item in element.value
        if "CodeValue" in item
    }
    # The templates are made of codes of DICOM.
    assert {code for code in used if code[0] != "DCM"} - OF_TEMPLATES <= stated
    assert len(used & stated) > 15
