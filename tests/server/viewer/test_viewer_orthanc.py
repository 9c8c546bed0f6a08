"""The annotation server over Orthanc: images from there, labels back to there, seen in OHIF."""

import nrrd
import numpy as np
import pytest
import requests
from tests.dicomweb.orthanc_process import orthanc_process, upload
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served
from tests.server.viewed_studies import GRAY, JSON, LESION, MASK, TISSUE, write_studies

from breastkit.dicom.read_seg import read_segmentation
from breastkit.inference.ultrasound import Segmenter
from breastkit.metrics.segmentation import dice
from breastkit.server.labels.label_files import write_labels
from breastkit.server.monailabel_fixes import prepare
from breastkit.server.studies.study_images import PICTURE_AFFINE

prepare()
from monailabel.client import MONAILabelClient  # noqa: E402


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    return write_studies(tmp_path_factory.mktemp("sent"))


@pytest.fixture(scope="module")
def pacs(studies, tmp_path_factory):
    with orthanc_process(tmp_path_factory.mktemp("orthanc")) as address:
        upload(address, [studies / "us.dcm", *(studies / "mri" / "case_001" / "post_1").glob("*.dcm")])
        yield address


@pytest.fixture(scope="module")
def server(pacs, tmp_path_factory):
    with served(pacs, conf={"labels": str(tmp_path_factory.mktemp("kept"))}) as (address, _):
        yield address


@pytest.fixture
def client(server, tmp_path):
    return MONAILabelClient(server, tmpdir=str(tmp_path))


def image_of(client, modality):
    objects = client.datastore()["objects"]
    (found,) = [name for name, one in objects.items() if one["image"]["info"]["Modality"] == modality]
    return found


def segmentations_of(pacs, image, folder):
    """Returns the files of the segmentations that Orthanc has of a series."""
    found = []
    for series in requests.get(f"{pacs}/series?Modality=SEG", headers=JSON, timeout=60).json():
        study, uid = series["0020000D"]["Value"][0], series["0020000E"]["Value"][0]
        place = f"{pacs}/studies/{study}/series/{uid}"
        (header,) = requests.get(f"{place}/metadata", headers=JSON, timeout=60).json()
        if header["00081115"]["Value"][0]["0020000E"]["Value"] == [image]:
            name = header["00080018"]["Value"][0]
            rest = pacs.replace("/dicom-web", "")
            (key,) = requests.post(f"{rest}/tools/lookup", data=name, timeout=60).json()
            found.append(folder / f"{uid}.dcm")
            found[-1].write_bytes(requests.get(f"{rest}/instances/{key['ID']}/file", timeout=60).content)
    return found


def test_both_modalities_are_listed_there_and_here(server, client):
    listed = requests.get(f"{server}/dicom-web/studies", headers=JSON, timeout=60).json()
    assert {one["00080061"]["Value"][0] for one in listed} == {"MR", "US"}
    assert client.info()["datastore"]["total"] == 2
    assert client.next_sample("first", {})["PatientID"] in ("US_1", "PHANTOM_001")


def test_a_picture_of_orthanc_is_outlined_and_its_label_stored_there(client, pacs, studies, tmp_path):
    image = image_of(client, "US")
    path, _ = client.infer(LESION, image, {})
    labels, _ = nrrd.read(path)
    expected, _ = Segmenter()(GRAY)
    assert dice(expected, MASK) > 0.8
    np.testing.assert_array_equal(labels[:, :, 0].T > 0, expected)
    # Saved corrected, so that what comes back cannot be the model's own.
    labels[100:110, 5:15] = 1
    saved = write_labels(tmp_path / "saved.nii.gz", labels, PICTURE_AFFINE)
    before = client.info()["datastore"]["completed"]
    client.save_label(image, str(saved), "final", {"label_info": [{"name": "lesion", "idx": 1}]})
    (stored,) = segmentations_of(pacs, image, tmp_path)
    (segment,) = read_segmentation(stored, studies / "us.dcm")
    np.testing.assert_array_equal(segment.mask > 0, labels[:, :, 0].T > 0)
    assert client.info()["datastore"]["completed"] == before + 1


def test_a_volume_of_orthanc_is_outlined_and_its_label_stored_there(client, pacs, studies, tmp_path):
    image = image_of(client, "MR")
    path, _ = client.infer(TISSUE, image, {})
    labels, _ = nrrd.read(path)
    assert labels.any()
    client.save_label(image, path, "final", {"label_info": [{"name": "breast", "idx": 1}]})
    (stored,) = segmentations_of(pacs, image, tmp_path)
    (segment,) = read_segmentation(stored, studies / "mri" / "case_001" / "post_1")
    np.testing.assert_array_equal(segment.mask > 0, labels > 0)


@pytest.mark.slow
def test_ohif_shows_the_lesion_of_a_picture_of_orthanc(server):
    with chromium() as browser:
        page = OhifPage(browser, server)
        found = page.list_studies("US_1", "PHANTOM_001")
        # Once a label is saved, SEG stands beside it.
        for patient, modality in (("US_1", "US"), ("PHANTOM_001", "MR")):
            assert any(modality in cell.split("\\") for cell in found[patient])
        page.open_for_labels("US_1")
        page.run_model(LESION, then="Replace it")
        seen = page.overlay("lesion", page.labels()[0])
        assert dice(seen, page.labels()[0] > 0) > 0.97
        assert dice(seen, MASK) > 0.8
        info = requests.get(f"{server}/datastore/label/info?label={page.submit()['image']}", timeout=60).json()
        assert list(info["labels"]) == ["lesion"]
        assert info["voxels"] == {str(info["labels"]["lesion"]): int((page.labels() > 0).sum())}
        assert page.failures == []
