"""What viewers store as a DICOM segmentation is a label of the image it was drawn on, or it is said why not."""

import nibabel
import numpy as np
import pytest
import requests
from tests.dicom.scans import AXIAL, SHAPE, affine_of, an_l, shifted, write_scan
from tests.dicomweb.store_process import store_process
from tests.server.served_app import served

from breastkit.dicom import list_series
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_seg import Segment, write_segmentation
from breastkit.dicom.write_us import write_us_dicom
from breastkit.dicomweb.multipart_related import PartsWriter
from breastkit.server.labels import stored_segmentations

FRAMES = np.random.default_rng(1).integers(0, 255, (3, 40, 60), dtype=np.uint8)
MASK = np.zeros(FRAMES.shape, np.uint8)
MASK[1, 5:20, 30:50] = 1


@pytest.fixture
def studies(tmp_path):
    """A scan and a clip."""
    write_scan(tmp_path / "studies" / "scan", affine_of(AXIAL))
    write_us_dicom(tmp_path / "studies" / "clip.dcm", FRAMES, spacing=0.2, patient="US_1", uid_seed="stored")
    return tmp_path / "studies"


@pytest.fixture(params=["folder", "address"])
def server(request, studies, tmp_path):
    """A server over the studies' folder, and one over another DICOMweb server that has them."""
    conf = {"labels": str(tmp_path / "labels")}
    if request.param == "folder":
        with served(studies, conf=conf) as (address, _):
            yield address
    else:
        with store_process(studies, tmp_path / "stored") as pacs, served(pacs, conf=conf) as (address, _):
            yield address


def stored(address, path):
    """Stores a DICOM file as viewers do; returns what was said against its use as a label."""
    writer = PartsWriter("application/dicom")
    body = b"".join(writer.write([("application/dicom", path.read_bytes())]))
    headers = {"Content-Type": writer.content_type, "Accept": "application/dicom+json"}
    answer = requests.post(f"{address}/dicom-web/studies", data=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.headers.get("Warning", "")


def label_of(address, image, folder):
    answer = requests.get(f"{address}/datastore/label?label={image}&tag=final", timeout=60)
    if answer.status_code != 200:
        return None
    (folder / "label.nii.gz").write_bytes(answer.content)
    return np.asarray(nibabel.load(folder / "label.nii.gz").dataobj)


def uid_of(address, modality):
    objects = requests.get(f"{address}/datastore/?output=all", timeout=60).json()["objects"]
    (found,) = [name for name, one in objects.items() if one["image"]["info"]["Modality"] == modality]
    return found


def test_a_segmentation_becomes_the_label_of_its_series_or_clip(server, studies, tmp_path):
    lesion, breast = an_l(), np.zeros(SHAPE, np.uint8)
    breast[0, :, 3] = 1
    segments = [
        Segment(SegmentKind.BREAST_LESION, lesion, None, label="malignant"),
        Segment(SegmentKind.BREAST, breast, None, label="breast"),
    ]
    assert stored(server, write_segmentation(tmp_path / "a.dcm", segments, studies / "scan")) == ""
    image = uid_of(server, "MR")
    np.testing.assert_array_equal(label_of(server, image, tmp_path), lesion + 2 * breast)
    info = requests.get(f"{server}/datastore/label/info?label={image}", timeout=60).json()
    assert (info["labels"], info["class"]) == ({"malignant": 1, "breast": 2}, "malignant")

    segments = [Segment(SegmentKind.BREAST_LESION, MASK, None, label="lesion")]
    assert stored(server, write_segmentation(tmp_path / "b.dcm", segments, studies / "clip.dcm")) == ""
    np.testing.assert_array_equal(label_of(server, uid_of(server, "US"), tmp_path).T, MASK)


def test_what_cannot_be_a_label_is_stored_and_it_is_said_why(server, studies, tmp_path):
    elsewhere = write_scan(tmp_path / "elsewhere", shifted(affine_of(AXIAL), 40))
    assert list_series(elsewhere)[0].uid == uid_of(server, "MR")
    both = [Segment(SegmentKind.BREAST_LESION, an_l(), None, label=name) for name in ("one", "two")]
    one = both[:1]
    for name, segments, source in (("overlap", both, studies / "scan"), ("outside", one, elsewhere)):
        said = stored(server, write_segmentation(tmp_path / f"{name}.dcm", segments, source))
        assert "overlap or do not lie on the series" in said
        assert str(tmp_path) not in said
    other = write_scan(tmp_path / "other", affine_of(AXIAL), number=2)
    assert "refers to no series here" in stored(server, write_segmentation(tmp_path / "other.dcm", one, other))
    assert label_of(server, uid_of(server, "MR"), tmp_path) is None


def test_a_small_file_that_stands_for_far_too_many_voxels_is_no_label(server, tmp_path, monkeypatch):
    fine = write_scan(tmp_path / "fine", affine_of(AXIAL, np.array((0.8, 1.1, 2.5)) / 3), shape=3 * np.array(SHAPE))
    mask = np.ones(3 * np.array(SHAPE), np.uint8)
    # Beyond the centres of the outermost voxels of the scan it would be refused for its place.
    mask[-2:], mask[:, -2:], mask[:, :, -2:] = 0, 0, 0
    path = write_segmentation(tmp_path / "fine.dcm", [Segment(SegmentKind.BREAST, mask, None, label="breast")], fine)
    assert "is no label" in stored(server, path)
    monkeypatch.setattr(stored_segmentations, "_MOST_TIMES", 100)
    assert stored(server, path) == ""
    assert label_of(server, uid_of(server, "MR"), tmp_path).all()
