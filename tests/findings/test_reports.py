"""What the report of a run says, as a page and as a PDF."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from tests.findings.made_up import LIMITS, mri_findings, picture_findings
from tests.report.test_page import check_page

from breastkit.dicom.derived_objects import Side
from breastkit.findings.mri_report import mri_document
from breastkit.findings.report_html import ReportPage
from breastkit.findings.report_pdf import ReportPdf
from breastkit.findings.study_findings import Measurement
from breastkit.findings.ultrasound_report import picture_document
from breastkit.findings.writers import Outputs
from breastkit.report.document import Group, Picture, Row, Strip, Table, render_html
from breastkit.report.pdf import render_pdf


def blocks_of(document, kind):
    """All blocks of a kind, within others too."""

    def inside(blocks):
        for block in blocks:
            if isinstance(block, kind):
                yield block
            yield from inside(getattr(block, "blocks", ()))

    return [block for section in document.sections for block in inside(section.blocks)]


def pages_of(pdf):
    return len(re.findall(rb"/Type /Page\b", pdf))


@pytest.mark.parametrize("lesions", [0, 2])
def test_page_and_pdf_of_a_study(tmp_path, lesions):
    outputs = Outputs(tmp_path, [ReportPage, ReportPdf])
    outputs.write(mri_findings(lesions=lesions))
    assert outputs.finish() == tmp_path / "report.html"
    page, pdf = (tmp_path / "report.html").read_text(), (tmp_path / "report.pdf").read_bytes()
    check_page(page)
    assert page.index("Doubtful: check this") < page.index('class="cards"')
    assert page.count("axial slice") == 15 * lesions
    assert pdf.startswith(b"%PDF") and pages_of(pdf) >= 1 + lesions // 2


def test_what_was_found_comes_first_and_sides_are_words():
    findings = mri_findings()
    first, second = findings.lesions
    measured = (Measurement("longest_diameter_mm", 23.4, "mm"), *first.measurements)
    sided = replace(findings, lesions=(replace(first, side=Side.LEFT, measurements=measured), second))
    document = mri_document(sided)
    assert document.lead == (
        "2 lesions were found; the surest one lies in the left breast, 23.4 mm across, 0.48 ml, "
        "curve washout (type 3), with a score of 0.90."
    )
    overview, *_ = blocks_of(document, Table)
    assert [row[:3] for row in overview.rows] == [["1", "left", "0.90"], ["2", "not determined", "0.67"]]
    titles = [group.title for group in blocks_of(document, Group)]
    assert titles == ["Lesion 1: in the left breast, score 0.90", "Lesion 2: side not determined, score 0.67"]
    assert mri_document(mri_findings(lesions=0)).lead == "No lesion was found."


def test_measures_have_units_and_what_is_new_is_told_too():
    findings = mri_findings(lesions=1)
    (lesion,) = findings.lesions
    further = (
        Measurement("wash_out", -0.123),
        Measurement("entropy_of_rim", 1.234, "bit"),
        Measurement("wash_in", 0.5),
    )
    told = mri_document(replace(findings, lesions=(replace(lesion, measurements=lesion.measurements + further),)))
    _, measures, *_ = blocks_of(told, Table)
    assert dict(measures.rows) == {
        "Volume": "0.48 ml (480 mm³)",
        "Sphericity (1: a ball)": "0.12",
        "Distance to skin": "not measured",
        "Curve type": "washout (type 3)",
        "Wash-out, first to last phase": "−12\u202f%",
        "entropy of rim": "1.23 bit",
        "Wash-in, first phase after contrast": "50\u202f%",
    }


def test_a_lesion_is_shown_before_and_after_contrast_and_subtracted():
    findings = mri_findings(lesions=1)
    (strip,) = blocks_of(mri_document(findings), Strip)
    assert [name for name, _ in strip.rows] == ["before", "after", "subtraction"]
    # The box reaches from rows 3 to 7 of the study, of which feet are at the higher end: axial slices 5 to 9 of 12.
    assert strip.columns == [f"slice {number}" for number in range(5, 10)]
    assert all(len(shown) == 5 for _, shown in strip.rows)


def test_projections_show_lesions_where_they_are():
    """Every lesion's outline lies in the projections: right of the patient on the left, head at the top."""
    import cv2

    def pink(picture: Picture):
        array = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
        found = (array[..., 0] > 180) & (array[..., 1] < 140) & (array[..., 2] < 180)
        return np.argwhere(found).mean(0) / found.shape

    findings = mri_findings()
    places = []
    for lesion in findings.lesions:
        (row,) = blocks_of(mri_document(replace(findings, lesions=(lesion,))), Row)
        places.append([pink(picture) for picture in row.pictures])
    ((first_back, first_left), (first_down, _)), ((second_back, second_left), (second_down, _)) = places
    # In the study columns run to the back, rows to the feet and slices from right to left.
    assert first_back < second_back
    assert first_left < second_left
    assert first_down > second_down


def test_a_picture_tells_probabilities_doubts_and_what_spoke_for_it():
    findings = picture_findings(found=False)
    relevance = np.linspace(0, 1, findings.reading.mask.size, dtype=np.float32).reshape(findings.reading.mask.shape)
    unsure = replace(findings, reading=replace(findings.reading, relevance=relevance, abstain=True))
    page = render_html(picture_document(unsure))
    check_page(page)
    assert "Read as malignant: malignant with 60.0\u202f%, suspicious by the operating point; no lesion" in page
    assert "Too uncertain to be relied on" in page and "<li>No lesion.</li>" in page
    assert page.count("data:image/jpeg") == 3
    assert "what mattered for malignant" in page


def test_pictures_of_a_run_are_sorted_and_problems_told(tmp_path):
    outputs = Outputs(tmp_path, [ReportPage, ReportPdf])
    for number, malignant in enumerate((0.2, 0.7)):
        findings = picture_findings()
        probabilities = {"normal": 0.1, "benign": 0.9 - malignant, "malignant": malignant}
        reading = replace(findings.reading, probabilities=probabilities)
        outputs.write(replace(findings, file=f"x{number}.png", case="one", reading=reading))
    outputs.finish(["cut.png is damaged."])
    page = (tmp_path / "report.html").read_text()
    check_page(page)
    assert page.index("x1.png: malignant, suspicious") < page.index("x0.png: malignant")
    assert page.index("cut.png is damaged.") < page.index('class="cards"')
    assert '<th scope="row">one</th><td class="text">2</td>' in page


def test_the_rule_says_what_the_operating_point_flags():
    findings = picture_findings()
    reached = {**LIMITS, "recall": 0.951, "specificity": 0.567}
    models = tuple(replace(model, limits=reached) if model.role == "classifier" else model for model in findings.models)
    page = render_html(picture_document(replace(findings, models=models)))
    assert "95 of 100 malignant lesions were flagged, and 43 of 100 others too" in page


def test_the_same_findings_give_the_same_bytes():
    findings = mri_findings()
    one, again = (mri_document(replace(findings)) for _ in range(2))
    assert render_html(one) == render_html(again)
    assert render_pdf(one) == render_pdf(again)


@pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="pdftotext is not installed (apt-get install poppler-utils)"
)
def test_the_pdf_says_what_the_page_says(tmp_path):
    names = ("Größe 5 <b>", "Молочная железа")
    for number, name in enumerate(names):
        path = tmp_path / f"{number}.pdf"
        path.write_bytes(render_pdf(mri_document(replace(mri_findings(), name=name))))
        told = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout
        for words in (
            name,
            "Doubtful: check this",
            "It is made up.",
            "0.48 ml (480 mm³)",
            "not determined",
            "aaaaaaaa",
        ):
            assert words in told
        assert told.count("For research, not for diagnosis.") == 1 + told.count("\f")
