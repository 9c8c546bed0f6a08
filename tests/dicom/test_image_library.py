"""The image library of a report: every image, and what those of a series share once."""

import pydicom
import pytest
from highdicom.sr import ImageLibraryEntryDescriptors
from pydicom.sr.codedict import codes
from tests.dicom.scans import AXIAL, SHAPE, affine_of, write_multi_frame, write_scan

from breastkit.dicom.image_library import image_library
from breastkit.dicom.source_images import read_source_images


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Headers of two series of one study."""
    folder = tmp_path_factory.mktemp("study")
    folders = [write_scan(folder / str(number), affine_of(AXIAL), number=number) for number in (1, 2)]
    return [read_source_images(one).headers for one in folders]


def images_of(group):
    return [item for item in group.ContentSequence if item.ValueType == "IMAGE"]


def described(items):
    """Returns what items say: name and value."""
    return [
        (item.name, item.MeasuredValueSequence[0].NumericValue if item.ValueType == "NUM" else item.value)
        for item in items
        if item.ValueType != "IMAGE"
    ]


def test_a_group_a_series(series):
    library = image_library([*series[0], *series[1]])
    assert library.name == codes.DCM.ImageLibrary
    assert len(library.ContentSequence) == 2
    for group, headers in zip(library.ContentSequence, series, strict=True):
        assert group.name == codes.DCM.ImageLibraryGroup
        named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images_of(group)]
        assert named == [header.SOPInstanceUID for header in headers]
        assert len(named) == SHAPE[2]


def test_group_and_image_together_say_what_highdicom_says_of_each_image(series):
    (group,) = image_library(series[0]).ContentSequence
    for item, header in zip(images_of(group), series[0], strict=True):
        assert len(item.ContentSequence) == 3
        whole = described(ImageLibraryEntryDescriptors(header))
        assert sorted(map(str, described(group.ContentSequence) + described(item.ContentSequence))) == sorted(
            map(str, whole)
        )


def test_images_that_differ_by_more_than_their_place_are_apart(series):
    headers = [pydicom.Dataset(header) for header in series[0]]
    headers[3].SliceThickness = 7
    groups = image_library(headers).ContentSequence
    assert [len(images_of(group)) for group in groups] == [SHAPE[2] - 1, 1]


def test_a_multi_frame_object_has_no_one_place(tmp_path):
    write_multi_frame(tmp_path / "enhanced", write_scan(tmp_path / "single", affine_of(AXIAL)))
    (group,) = image_library(read_source_images(tmp_path / "enhanced").headers).ContentSequence
    (item,) = images_of(group)
    assert "ContentSequence" not in item
    assert codes.DCM.PixelDataRows in [one.name for one in group.ContentSequence if one.ValueType == "NUM"]
