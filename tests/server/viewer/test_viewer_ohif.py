"""Labels from the first mask to the saved file, in OHIF as it runs in a browser."""

import shutil

import nibabel
import numpy as np
import pytest
import requests
from tests.dicom.conformance import errors_of
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served
from tests.server.viewed_studies import JSON, LESION, MASK, TISSUE, write_studies

from breastkit.dicom import list_series
from breastkit.dicom.read_seg import read_segmentation
from breastkit.metrics.segmentation import dice

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    return write_studies(tmp_path_factory.mktemp("viewed"))


@pytest.fixture(scope="module")
def truth(studies):
    """The breasts of the MRI phantom as nibabel reads them, in canonical order."""
    return nibabel.as_closest_canonical(nibabel.load(next((studies / "mri" / "truth" / "breast").glob("*.nii.gz"))))


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory):
    with served(studies, conf={"labels": str(tmp_path_factory.mktemp("kept"))}) as (address, _):
        yield address


@pytest.fixture(scope="module")
def page(server):
    with chromium() as browser:
        yield OhifPage(browser, server)


def mri_series(studies):
    """Returns the series of the MRI study by their identifier."""
    return {one.uid: one for one in list_series(studies / "mri" / "case_001")}


def label_of(server, image, folder):
    answer = requests.get(f"{server}/datastore/label", params={"label": image, "tag": "final"})
    assert answer.status_code == 200, answer.text
    (folder / "label.nii.gz").write_bytes(answer.content)
    return nibabel.load(folder / "label.nii.gz")


def series_of(server, modality):
    objects = requests.get(f"{server}/datastore/?output=all").json()["objects"]
    found = [one["image"]["info"] for one in objects.values() if one["image"]["info"]["Modality"] == modality]
    return {one["SeriesDescription"]: one["SeriesInstanceUID"] for one in found}


def segmentations_of(server, folder):
    """Returns the files of the stored segmentations by the series they were drawn on."""
    for series in requests.get(f"{server}/dicom-web/series?Modality=SEG", headers=JSON).json():
        study, uid = series["0020000D"]["Value"][0], series["0020000E"]["Value"][0]
        place = f"{server}/dicom-web/studies/{study}/series/{uid}"
        (header,) = requests.get(f"{place}/metadata", headers=JSON).json()
        name = header["00080018"]["Value"][0]
        stored = requests.get(f"{place}/instances/{name}", headers={"Accept": "application/dicom"})
        (folder / f"{uid}.dcm").write_bytes(stored.content)
        yield header["00081115"]["Value"][0]["0020000E"]["Value"][0], folder / f"{uid}.dcm"


def test_the_list_shows_both_modalities(page):
    found = page.list_studies("US_1", "PHANTOM_001")
    assert "US" in found["US_1"]
    assert "MR" in found["PHANTOM_001"]


def test_an_ultrasound_lesion_is_outlined_corrected_and_saved(page, server, studies, tmp_path):
    page.list_studies()
    page.open_for_labels("US_1")
    assert f"{LESION} drew lesion (" in page.run_model(LESION)
    seen = page.overlay("lesion", page.labels()[0])
    assert dice(seen, page.labels()[0] > 0) > 0.97
    assert dice(seen, MASK) > 0.8
    # Upside down or mirrored it would fit worse by far.
    assert max(dice(seen[::-1], MASK), dice(seen[:, ::-1], MASK)) < 0.75

    before = page.labels()
    page.draw("Brush", (240, 225), (250, 240))
    drawn = page.labels()
    assert drawn[0, 225:240, 240:250].any()
    assert (drawn >= before).all()
    page.draw("Eraser", (240, 225), (250, 240))
    assert page.labels().sum() < drawn.sum()
    page.draw("Brush", (240, 225), (250, 240))

    (image,) = series_of(server, "US").values()
    answer = page.submit("malignant")
    assert (answer["image"], answer["version"], answer["class"]) == (image, 1, "malignant")
    assert requests.get(f"{server}/datastore/").json()["completed"] == 1
    saved = label_of(server, image, tmp_path)
    np.testing.assert_array_equal(np.asarray(saved.dataobj).T, page.labels())
    ((of_series, path),) = segmentations_of(server, tmp_path)
    assert of_series == image
    (segment,) = read_segmentation(path, studies / "us.dcm")
    np.testing.assert_array_equal(segment.mask > 0, page.labels()[0] > 0)
    assert segment.label == "lesion"


def test_the_next_sample_leads_to_the_study_without_a_label(page, server):
    if requests.get(f"{server}/datastore/").json()["completed"] != 1:
        pytest.skip("the test before did not save its label")
    assert page.section("Next").get_by_label("Choose by").input_value() == "mix"
    page.press("Next image", "Next")
    page.tab.wait_for_url(lambda url: "initialSeriesInstanceUID" in url)
    page.wait_for_image()
    assert "PHANTOM_001" in page.section("Outline").inner_text()


def test_breasts_in_mri_are_outlined_slice_by_slice_and_saved(page, server, studies, truth, tmp_path):
    page.list_studies()
    page.open_for_labels("PHANTOM_001")
    assert f"{TISSUE} drew breast (" in page.run_model(TISSUE)
    breasts = np.asarray(truth.dataobj) > 0
    slice_ = int(breasts.sum((0, 1)).argmax())
    page.show_slice(truth.affine[2, 3] + slice_ * truth.affine[2, 2])
    # Rows of an axial image go from front to back and columns from right to left: both against the canonical order.
    expected = breasts[::-1, ::-1, slice_].T
    seen = page.overlay("breast", page.labels()[slice_], fit=0.95)
    assert seen.shape == expected.shape
    assert dice(seen, page.labels()[slice_] > 0) > 0.95
    assert dice(seen, expected) > 0.6
    assert dice(seen, expected) > dice(seen[::-1], expected)
    found = np.stack([dice(one > 0, expected) for one in page.labels()])
    assert abs(int(found.argmax()) - slice_) <= 2

    answer = page.submit()
    assert answer["image"] in series_of(server, "MR").values()
    saved = nibabel.as_closest_canonical(label_of(server, answer["image"], tmp_path))
    np.testing.assert_array_equal(np.asarray(saved.dataobj)[::-1, ::-1].T, page.labels())
    stored = dict(segmentations_of(server, tmp_path))
    (segment,) = read_segmentation(stored[answer["image"]], mri_series(studies)[answer["image"]])
    np.testing.assert_array_equal(segment.mask.T > 0, page.labels() > 0)
    assert segment.label == "breast"
    assert requests.get(f"{server}/datastore/").json()["completed"] == len(stored)


def test_what_is_drawn_in_the_segmentation_mode_is_exported_to_the_store(page, server, studies, tmp_path):
    before = {path for _, path in segmentations_of(server, tmp_path)}
    page.list_studies()
    page.open_for_segments("PHANTOM_001")
    page.add_segmentation()
    # Apart and in other places, so that slices in the wrong order would be seen.
    heights = page.heights()
    for height, (column, row) in ((heights[4], (16, 20)), (heights[15], (40, 28))):
        page.show_slice(height)
        page.draw_segment((column, row), (column + 6, row + 9))
    drawn = page.labels() > 0
    assert np.flatnonzero(drawn.any((1, 2))).tolist() == [4, 15]
    answer = page.export_segmentation("Drawn by hand")
    (stored,) = answer["00081199"]["Value"]
    (uid,) = stored["00081155"]["Value"]
    assert stored["00081150"]["Value"] == [SEGMENTATION_STORAGE]

    (listed,) = requests.get(f"{server}/dicom-web/instances?SOPInstanceUID={uid}", headers=JSON).json()
    assert (listed["00080060"]["Value"], listed["00080016"]["Value"]) == (["SEG"], [SEGMENTATION_STORAGE])
    ((image, path),) = [item for item in segmentations_of(server, tmp_path) if item[1] not in before]
    (segment,) = read_segmentation(path, mri_series(studies)[image])
    np.testing.assert_array_equal(segment.mask.T > 0, drawn)
    assert segment.label == "Segment 1"
    assert shutil.which("dciodvfy") is None or not errors_of(path)
    places = [listed["00081190"]["Value"][0].partition("/instances/")[0]]
    places.append(f"{places[0].rpartition('/')[0]}/{image}")
    headers = [requests.get(f"{place}/metadata", headers=JSON).json()[0] for place in places]
    assert headers[0]["00200052"] == headers[1]["00200052"]
    # It is the label of its series as well, as one that was submitted.
    saved = requests.get(f"{server}/datastore/label/info?label={image}").json()
    assert (saved["labels"], saved["voxels"]) == ({"Segment 1": 1}, {"1": int(drawn.sum())})


@pytest.mark.parametrize("width", [390, 1280])
def test_the_start_page_fits_and_is_reached_by_keyboard(page, server, width):
    page.tab.set_viewport_size({"width": width, "height": 800})
    page.tab.goto(f"{server}/")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    reached = set()
    for _ in range(20):
        page.tab.keyboard.press("Tab")
        reached.add(page.tab.evaluate("document.activeElement.innerText.trim().split('\\n')[0]"))
    assert {"Skip to the content", "Viewer (OHIF)", "US_1 Breast ultrasound phantom"} <= reached


def test_nothing_failed_in_the_browser_and_nothing_outside_was_asked_for(page, server):
    assert page.failures == []
    assert page.asked
    assert [url for url in page.asked if not url.startswith((f"{server}/", "data:", "blob:"))] == []
