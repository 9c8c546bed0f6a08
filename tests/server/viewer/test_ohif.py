"""The viewer as the server gives it to a browser, the start page, and DICOMweb of another server."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import requests
from tests.dicomweb.store_process import store_process
from tests.server.served_app import served

from breastkit.dicom.write_us import write_us_dicom
from breastkit.server.viewer import ohif
from breastkit.server.viewer.ohif import has_viewer, placed, viewer_folder

JSON = {"Accept": "application/dicom+json"}
needs_viewer = pytest.mark.skipif(not has_viewer(), reason="no viewer here; 'python tools/fetch_viewer.py' brings it")


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


@pytest.mark.parametrize(
    "module", sorted((Path(ohif.__file__).parent / "annotation").glob("*.js")), ids=lambda path: path.stem
)
def test_no_class_of_the_extension_has_two_members_of_one_name(module):
    # The later one would take the place of the earlier without a word: JavaScript allows it.
    for part in re.split(r"(?m)^(?:export )?class ", module.read_text())[1:]:
        members = Counter(re.findall(r"(?m)^  (?:async )?((?:[gs]et )?\w+)\(.*\{$", part))
        assert [name for name, count in members.items() if count > 1] == []


@needs_viewer
def test_the_viewer_is_served_with_our_configuration(server):
    config = requests.get(f"{server}/ohif/app-config.js")
    assert '"wadoRoot": "/dicom-web"' in config.text
    assert "http" not in config.text
    index = requests.get(f"{server}/ohif/")
    assert index.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'(?:src|href)="(/ohif/[^"]+)"', index.text)
    assert len(loaded) == 5
    for path in [*loaded, "/ohif/annotation/extension.js", "/ohif/annotation/mode.js"]:
        assert requests.get(f"{server}{path}").status_code == 200, path
    # Pages of the viewer itself are made in the browser; nothing outside its folder is a file.
    assert requests.get(f"{server}/ohif/annotate?StudyInstanceUIDs=1.2").content == index.content
    assert requests.get(f"{server}/ohif/..%2F..%2F..%2Fconfig.py").content == index.content
    assert requests.get(f"{server}/ohif/annotation/..%2Fohif.py").content == index.content


@needs_viewer
def test_files_that_load_others_find_them_below_our_address():
    (app,) = viewer_folder().glob("app.bundle.*.js")
    script = placed(app, "/breast").decode()
    assert '__webpack_require__.p = "/breast/ohif/";' in script
    assert '__webpack_require__.p = "/";' not in script
    style = placed(viewer_folder() / "app.bundle.css", "").decode()
    (font,) = set(re.findall(r"url\(/ohif/([^)]+)\)", style))
    assert (viewer_folder() / font).is_file()
    assert "url(/a" not in style


def test_without_the_viewer_everything_else_works_and_it_says_so(studies, tmp_path, monkeypatch):
    monkeypatch.setattr(ohif, "viewer_folder", lambda: tmp_path / "none")
    with served(studies, conf={"labels": str(tmp_path / "labels")}) as (address, _):
        answer = requests.get(f"{address}/ohif/annotate?StudyInstanceUIDs=1.2")
        assert answer.status_code == 404
        assert "run 'python tools/fetch_viewer.py'" in answer.json()["detail"]
        page = requests.get(f"{address}/").text
        assert "The viewer is not installed here" in page
        assert "/ohif/" not in page
        assert requests.get(f"{address}/info/").json()["datastore"]["total"] == 1


def test_the_start_page_says_what_is_there(server):
    page = requests.get(f"{server}/").text
    assert "US_1" in page
    assert "breast_us_lesion_segmentation" in page
    assert "For research, not for diagnosis." in page
    assert "results" in requests.get(f"{server}/results/").text


@needs_viewer
def test_links_of_the_start_page_open_the_series_they_name(server):
    (image,) = requests.get(f"{server}/datastore/?output=all").json()["objects"]
    page = requests.get(f"{server}/").text
    assert re.search(rf"/ohif/annotate\?StudyInstanceUIDs=[0-9.]+&amp;initialSeriesInstanceUID={image}\"", page)


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
