"""Labels as DICOM segmentations: what these say of who and what made them."""

import highdicom
import numpy as np
import pydicom
import pytest
from tests.dicom.conformance import errors_of, needs_dciodvfy
from tests.server.viewed_studies import GRAY, write_picture

from breastkit.dicom.segment_kinds import SegmentCodes, SegmentKind
from breastkit.server.labels.label_files import write_labels
from breastkit.server.labels.readings import Readings
from breastkit.server.labels.stored_segmentations import keep_as_label
from breastkit.server.security.users import Role, User
from breastkit.server.studies.study_images import PICTURE_AFFINE
from breastkit.server.studies.study_store import open_store

CODES = {"lesion": SegmentKind.of("breast_lesion").codes}


@pytest.fixture
def store(tmp_path):
    write_picture(tmp_path / "studies" / "us.dcm")
    return open_store(str(tmp_path / "studies"), labels=tmp_path / "labels", kinds=CODES)


def save(store, tmp_path, params, user="anna"):
    """Saves a label of two segments and returns its version and the segmentation that is stored with it."""
    labels = np.zeros((*GRAY.shape[::-1], 1), np.uint8)
    labels[10:30, 10:30], labels[50:70, 40:60] = 1, 2
    ((image, _),) = store.images.all().items()
    before = set((tmp_path / "labels" / "dicom").rglob("*.dcm"))
    sent = write_labels(tmp_path / "sent.nii.gz", labels, PICTURE_AFFINE)
    saved = store.save(image, sent, params=params, user=user)
    (path,) = set((tmp_path / "labels" / "dicom").rglob("*.dcm")) - before
    return saved, pydicom.dcmread(path), path


def test_a_segmentation_says_who_and_what_made_it(store, tmp_path):
    assert isinstance(CODES["lesion"], SegmentCodes)
    model = {"model": "breast_us_lesion_segmentation", "weights": "0.3.0"}
    named = [
        {"name": "lesion", "idx": 1, **model, "corrected": False},
        {"name": "lesion 2", "idx": 2, **model, "corrected": True},
    ]
    _, first, _ = save(store, tmp_path, {"label_info": named, "class": "malignant"})
    assert [one.SegmentAlgorithmType for one in first.SegmentSequence] == ["AUTOMATIC", "SEMIAUTOMATIC"]
    assert first.SegmentSequence[0].SegmentAlgorithmName == model["model"]
    # A second lesion is one, too.
    codes = {one.SegmentedPropertyTypeCodeSequence[0].CodeValue for one in first.SegmentSequence}
    assert codes == {CODES["lesion"].type[0]}
    assert (first.SeriesNumber, first.SeriesDescription) == (901, "Label of Breast ultrasound phantom")
    assert (first.ContentDescription, str(first.ContentCreatorName)) == ("Class: malignant", "anna")

    by_hand = [{"name": "lesion", "idx": 1}, {"name": "lesion 2", "idx": 2}]
    saved, second, _ = save(store, tmp_path, {"label_info": by_hand})
    assert (saved.version, second.SeriesNumber) == (2, 902)
    assert [one.SegmentAlgorithmType for one in second.SegmentSequence] == ["MANUAL", "MANUAL"]


@needs_dciodvfy
def test_the_segmentation_is_as_dicom_wants_it(store, tmp_path):
    params = {"label_info": [{"name": "lesion", "idx": 1, "model": "a", "corrected": True}, {"name": "x", "idx": 2}]}
    _, _, path = save(store, tmp_path, params)
    assert errors_of(path) == []


def test_highdicom_reads_the_segmentation_of_a_picture(store, tmp_path):
    _, _, path = save(store, tmp_path, {"label_info": [{"name": "lesion", "idx": 1}, {"name": "x", "idx": 2}]})
    read = highdicom.seg.segread(path)
    assert read.number_of_segments == 2
    assert [int(one.sum()) for one in read.pixel_array] == [400, 400]


def test_a_class_stays_when_a_viewer_stores_other_outlines(store, tmp_path):
    saved, _, path = save(store, tmp_path, {"label_info": [{"name": "lesion", "idx": 1}], "class": "benign"})
    assert keep_as_label(store, Readings(store.labels), path.read_bytes(), User("berta", Role.ANNOTATOR)) == ""
    again = store.labels.current(saved.image)
    assert (again.version, again.info["class"], again.info["user"]) == (2, "benign", "berta")
