"""Segmentations that lack what OHIF leaves out: whole again, and everything else as it came."""

from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from tests.dicom.conformance import errors_of, needs_dciodvfy
from tests.dicom.scans import AXIAL, affine_of, an_l, write_mask, write_scan

from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.repair_seg import repaired_segmentation


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return write_scan(tmp_path_factory.mktemp("scan") / "mr", affine_of(AXIAL))


@pytest.fixture(scope="module")
def whole(scan, tmp_path_factory):
    """A segmentation of ours."""
    return write_mask(tmp_path_factory.mktemp("whole") / "seg.dcm", scan, an_l()).read_bytes()


def as_by_a_viewer(data):
    """Returns a segmentation without what OHIF 3.13 leaves out, and with the frame number that it adds."""
    dataset = pydicom.dcmread(BytesIO(data))
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        (derivation,) = frame.DerivationImageSequence
        del derivation.DerivationCodeSequence
        (source,) = derivation.SourceImageSequence
        del source.PurposeOfReferenceCodeSequence, source.ReferencedSOPClassUID
        source.ReferencedFrameNumber = 1
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


@needs_dciodvfy
def test_what_a_viewer_left_out_is_added(scan, whole, tmp_path):
    lacking, path = as_by_a_viewer(whole), tmp_path / "seg.dcm"
    path.write_bytes(lacking)
    assert errors_of(path)
    path.write_bytes(repaired_segmentation(lacking))
    assert not errors_of(path)
    before, after = pydicom.dcmread(BytesIO(whole)), pydicom.dcmread(path)
    assert (after.SOPInstanceUID, after.PixelData) == (before.SOPInstanceUID, before.PixelData)
    (segment,) = read_segmentation(path, scan)
    np.testing.assert_array_equal(segment.mask > 0, an_l() > 0)
    assert repaired_segmentation(path.read_bytes()) == path.read_bytes()


def test_everything_else_stays_as_it_came(scan, whole):
    image = next(scan.iterdir()).read_bytes()
    for data in (whole, image, b"", b"no DICOM", as_by_a_viewer(whole)[:2000]):
        assert repaired_segmentation(data) is data


def test_what_is_deflated_is_not_unpacked_to_look_at_it(whole):
    dataset = pydicom.dcmread(BytesIO(as_by_a_viewer(whole)))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    assert repaired_segmentation(written.getvalue()) == written.getvalue()
