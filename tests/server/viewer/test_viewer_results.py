"""What the pipelines store in a study, as OHIF lists it."""

import pydicom
from tests.findings.test_dicom_writers import mri_of, written
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served


def test_segmentation_and_report_are_listed_beside_the_images(tmp_path):
    results = written(mri_of(tmp_path / "studies" / "study"), tmp_path / "out")
    results.rename(tmp_path / "studies" / "results")
    study = pydicom.dcmread(tmp_path / "studies" / "results" / "report.dcm").StudyInstanceUID
    with served(tmp_path / "studies", conf={"labels": str(tmp_path / "kept")}) as (address, _), chromium() as browser:
        page = OhifPage(browser, address)
        page.tab.goto(f"{address}/ohif/viewer?StudyInstanceUIDs={study}")
        page.tab.locator(".cornerstone-canvas").first.wait_for()
        for text in ("AI results: segmentation", "AI results: measurements"):
            page.tab.get_by_text(text).first.wait_for()
        assert page.failures == []
