"""The corrected viewer, the start page and DICOMweb of another server, as a browser gets them."""

import numpy as np
import pytest
import requests
from tests.dicomweb.store_process import store_process
from tests.server.served_app import served

from breastkit.dicom.write_us import write_us_dicom
from breastkit.server.viewer.ohif import CORRECTIONS, missing_corrections, viewer_folder

JSON = {"Accept": "application/dicom+json"}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("viewed")
    frames = np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8)
    write_us_dicom(folder / "us.dcm", frames, spacing=0.1, patient="US_1", uid_seed="viewer test")
    return folder


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    (folder / "pages").mkdir()
    (folder / "pages" / "index.html").write_text("<h1>results</h1>")
    with served(studies, conf={"labels": str(folder / "labels")}, pages=folder / "pages") as (address, _):
        yield address


def test_every_correction_still_has_its_place():
    assert not missing_corrections(viewer_folder())
    assert len({one.before for one in CORRECTIONS}) == len(CORRECTIONS)


def test_the_viewer_is_corrected_for_this_server(server):
    config = requests.get(f"{server}/ohif/app-config.js")
    assert '"wadoRoot": "/dicom-web"' in config.text
    assert "proxy" not in config.text
    index = requests.get(f"{server}/ohif/")
    assert "googleapis" not in index.text
    name = next(viewer_folder().glob("3933.bundle.*.js")).name
    panel = requests.get(f"{server}/ohif/{name}")
    assert panel.headers["content-type"].startswith("text/javascript")
    assert ":8000" not in panel.text
    assert "window.breastkit.LabelTools" in panel.text
    # What the sources call is there before they are.
    assert index.text.index("/ohif/breastkit.js") < index.text.index("app.bundle")
    added = requests.get(f"{server}/ohif/breastkit.js")
    assert added.headers["content-type"].startswith("text/javascript")
    assert "window.breastkit = breastkit" in added.text
    # Pages of the viewer itself are made in the browser; nothing outside its folder is a file.
    assert requests.get(f"{server}/ohif/monai-label?StudyInstanceUIDs=1.2").content == index.content
    assert requests.get(f"{server}/ohif/..%2F..%2F..%2Fconfig.py").content == index.content


def test_the_start_page_says_what_is_there(server):
    page = requests.get(f"{server}/").text
    assert "US_1" in page
    assert "breast_us_lesion_segmentation" in page
    assert "For research, not for diagnosis." in page
    assert "results" in requests.get(f"{server}/results/").text


def test_another_dicomweb_server_is_reached_through_ours(studies, tmp_path):
    with (
        store_process(studies, tmp_path / "stored") as pacs,
        served(pacs, conf={"labels": str(tmp_path / "labels")}) as (address, _),
    ):
        (study,) = requests.get(f"{address}/dicom-web/studies?PatientID=US_1", headers=JSON).json()
        # The question goes along with the address: another patient's study is no answer.
        assert requests.get(f"{address}/dicom-web/studies?PatientID=other", headers=JSON).json() == []
        assert pacs not in str(study)
        uid = study["0020000D"]["Value"][0]
        assert requests.get(f"{address}/dicom-web/studies/{uid}/metadata", headers=JSON).status_code == 200
        for path in ("system", "../system", "studies/..", "studies/1.2/../../system"):
            request = requests.Request("GET", address).prepare()
            request.url = f"{address}/dicom-web/{path}"
            assert requests.Session().send(request).status_code == 404, path
