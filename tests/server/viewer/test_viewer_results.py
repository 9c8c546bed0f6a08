"""What the pipelines store in a study, as OHIF lists and draws it."""

from dataclasses import replace

import cv2
import numpy as np
import pydicom
import pytest
from tests.findings.test_dicom_writers import mri_of, written
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served

from breastkit.metrics.segmentation import dice

SLICES = (2, 3, 4)
# The viewer takes pixels of images for squares.
SQUARES = (1.0, 1.0, 2.5)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A study in one folder with what was found in it: a lesion that no other segment covers."""
    root = tmp_path_factory.mktemp("found")
    findings = mri_of(root / "study", spacing=SQUARES)
    findings = replace(findings, breast=findings.breast & ~findings.lesions[0].mask)
    written(findings, root / "out").rename(root / "results")
    return findings, root


def test_segmentation_and_report_are_listed_and_drawn(found, tmp_path):
    findings, root = found
    study = pydicom.dcmread(root / "results" / "report.dcm").StudyInstanceUID
    with served(root, conf={"labels": str(tmp_path / "kept")}) as (address, _), chromium() as browser:
        page = OhifPage(browser, address)
        page.open_study(study)
        for text in ("AI results: segmentation", "AI results: measurements"):
            page.tab.get_by_text(text).first.wait_for()
        page.show_result("AI results: measurements")
        line = page.measured_line()
        # The viewer turns to the slice by itself.
        assert page.height() == pytest.approx((findings.phases.affine @ [0, 0, SLICES[0], 1])[2])
        np.testing.assert_allclose(np.sort(line, axis=0), [[1, 1], [9, 8]], atol=0.05)
        words = " ".join(page.tab.locator(".svg-layer text").all_text_contents())
        assert "Volume: 42.25 mm3" in words
        assert "Long axis: 10.63 mm" in words
        green = page.green()
        page.tab.screenshot(path=tmp_path / "viewer.png")
        expected = cv2.line(np.zeros_like(green, np.uint8), *page.on_canvas(line), 1, 9) > 0
        # Dashes, and nothing but them along the line.
        assert 0.05 < (green & expected).sum() / expected.sum() < 0.6
        page.open_study(study)
        page.show_result("AI results: segmentation")
        page.wait_for_segments(3)
        for number in SLICES:
            page.show_slice(float((findings.phases.affine @ [0, 0, number, 1])[2]))
            mask = findings.lesions[0].mask[:, :, number].T
            assert dice(page.overlay("Lesion 1", mask, fit=0.95), mask) > 0.95
        assert page.failures == []
