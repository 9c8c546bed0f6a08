"""Segmentations written; their geometry against DICOM's definitions, their codes and references."""

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from tests.dicom.scans import (
    AXIAL,
    CORONAL,
    MODEL,
    OBLIQUE,
    SAGITTAL,
    SHAPE,
    affine_of,
    an_l,
    edit_all,
    only,
    shifted,
    write_mask,
    write_multi_frame,
    write_scan,
)

from breastkit.dicom import read_series
from breastkit.dicom.read_seg import is_segmentation, label_map, read_segmentation
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_seg import Algorithm, Segment, write_segmentation
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError


def world_of_mask(mask, affine):
    points = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    return sorted(map(tuple, np.round(points * [-1, -1, 1], 2) + 0.0))


def world_of_file(path):
    """The patient coordinates of every voxel set, from the file's own headers as DICOM defines them."""
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0].PixelSpacing
    turn = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    points = []
    for frame, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(pixels)
        points += list(place + np.outer(columns * measures[1], turn[:3]) + np.outer(rows * measures[0], turn[3:]))
    return sorted(map(tuple, np.round(points, 2) + 0.0))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("third", [1, -1])
@pytest.mark.parametrize(
    "directions", [AXIAL, SAGITTAL, CORONAL, OBLIQUE], ids=["axial", "sagittal", "coronal", "oblique"]
)
def test_a_mask_lies_where_the_scan_says_and_comes_back(tmp_path, directions, third, reverse):
    folder = write_scan(tmp_path / "s", affine_of(directions * [1, 1, third]), reverse=reverse)
    scan = read_series(folder)
    path = write_mask(tmp_path / "seg.dcm", folder)
    assert np.allclose(world_of_file(path), world_of_mask(an_l(), scan.affine), atol=0.02)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, an_l())


def test_masks_come_in_any_order_of_their_axes_with_their_affine(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(OBLIQUE))
    scan = read_series(folder)
    # The same voxels as (slice, column from the other end, row).
    turned = an_l()[::-1].transpose(2, 0, 1)
    to_scan = np.array([[0, -1, 0, SHAPE[0] - 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    path = write_mask(tmp_path / "seg.dcm", folder, turned, affine=scan.affine @ to_scan)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, an_l())


def test_codes_references_and_algorithm(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    breast = Segment("breast", an_l(slices=(1, 6)), Algorithm("tissue", "v2", corrected=True))
    path = write_segmentation(
        tmp_path / "seg.dcm",
        [breast, Segment("fibroglandular_tissue", an_l(), MODEL, label="FGT"), Segment("breast_lesion", an_l())],
        folder,
        creator="Doe^Jane",
    )
    dataset = pydicom.dcmread(path)
    source = pydicom.dcmread(folder / "0001.dcm", stop_before_pixels=True)
    assert dataset.SOPClassUID.name == "Segmentation Storage" and dataset.SegmentationType == "BINARY"
    for name in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID", "StudyDate"):
        assert dataset[name].value == source[name].value
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert dataset.ContentCreatorName == "Doe^Jane"
    referred = dataset.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == source.SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in referred.ReferencedInstanceSequence} == {
        pydicom.dcmread(p).SOPInstanceUID for p in folder.iterdir()
    }
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        instance = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        (image,) = (i for i in map(pydicom.dcmread, folder.iterdir()) if i.SOPInstanceUID == instance)
        assert np.allclose(image.ImagePositionPatient, position)
    first, second, third = dataset.SegmentSequence
    assert [s.SegmentAlgorithmType for s in (first, second, third)] == ["SEMIAUTOMATIC", "AUTOMATIC", "MANUAL"]
    identification = second.SegmentationAlgorithmIdentificationSequence[0]
    assert (identification.AlgorithmName, identification.AlgorithmVersion) == (MODEL.name, MODEL.version)
    assert "SegmentationAlgorithmIdentificationSequence" not in third
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "76752008"
    assert third.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006"
    assert third.AnatomicRegionSequence[0].CodeValue == "76752008"
    assert len({tuple(s.RecommendedDisplayCIELabValue) for s in dataset.SegmentSequence}) == 3
    read = read_segmentation(path, folder)
    assert [s.kind for s in read] == list(SegmentKind)[:3]
    assert [s.label for s in read] == ["Breast", "FGT", "Lesion of breast"]
    assert [(s.algorithm, s.version) for s in read] == [("tissue", "v2"), (MODEL.name, MODEL.version), ("", "")]
    np.testing.assert_array_equal(read[0].mask, an_l(slices=(1, 6)))
    assert is_segmentation(path) and not is_segmentation(folder / "0001.dcm")
    with pytest.raises(BreastkitError, match="overlaps"):
        label_map(read)
    assert set(np.unique(label_map(read[1:2]))) == {0, 2}


def test_every_kind_has_codes_of_its_own():
    assert len({(kind.codes.type, kind.codes.region) for kind in SegmentKind}) == len(SegmentKind)
    for kind in SegmentKind:
        assert SegmentKind.coded_as(kind.codes.type, kind.codes.region) is kind
    assert SegmentKind.coded_as(codes.SCT.Neoplasm, None) is None
    assert SegmentKind.coded_as(Code("C114467", "NCIt", ""), None) is SegmentKind.FIBROGLANDULAR_TISSUE
    with pytest.raises(BreastkitError, match="choose one of breast, "):
        SegmentKind.of("liver")


def test_probabilities_become_a_fractional_object(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(SAGITTAL))
    probability = np.random.default_rng(1).random(SHAPE).astype(np.float32) * an_l()
    path = write_mask(tmp_path / "seg.dcm", folder, probability)
    assert pydicom.dcmread(path).SegmentationType == "FRACTIONAL"
    read = only(read_segmentation(path, folder)).mask
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, probability, atol=0.5 / 255 + 1e-6)


def test_empty_slices_are_left_out_unless_wanted_and_an_empty_mask_is_one(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    assert pydicom.dcmread(write_mask(tmp_path / "a.dcm", folder)).NumberOfFrames == 3
    path = write_mask(tmp_path / "b.dcm", folder, keep_empty_slices=True)
    assert pydicom.dcmread(path).NumberOfFrames == SHAPE[2]
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, an_l())
    empty = write_mask(tmp_path / "c.dcm", folder, np.zeros(SHAPE, bool))
    assert not only(read_segmentation(empty, folder)).mask.any()


def test_pictures_and_clips(tmp_path):
    rng = np.random.default_rng(0)
    picture = write_us_dicom(
        tmp_path / "p.dcm", rng.integers(0, 255, (33, 47), np.uint8), spacing=0.1, patient="U^", uid_seed="1"
    )
    clip = write_us_dicom(
        tmp_path / "c.dcm", rng.integers(0, 255, (5, 33, 47), np.uint8), spacing=0.1, patient="U^", uid_seed="2"
    )
    mask = np.zeros((5, 33, 47), np.uint8)
    mask[1:4, 4:20, 10:15] = 1
    mask[3, 18:20, 10:40] = 1
    path = write_mask(tmp_path / "ps.dcm", picture, mask[3])
    shared = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.1, 0.1]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [0, 1, 0, 0, 0, -1]
    np.testing.assert_array_equal(only(read_segmentation(path, picture)).mask, mask[3])
    path = write_mask(tmp_path / "cs.dcm", clip, mask)
    written = pydicom.dcmread(path)
    assert written.NumberOfFrames == 3
    numbers = [
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for frame in written.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == [2, 3, 4]
    for frame in written.PerFrameFunctionalGroupsSequence:
        content = frame.FrameContentSequence[0]
        assert content.DimensionIndexValues == [1, content.InStackPositionNumber]
    reference = written.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    header = pydicom.dcmread(clip, stop_before_pixels=True)
    assert reference.ReferencedSOPClassUID == header.SOPClassUID
    assert reference.ReferencedSOPInstanceUID == header.SOPInstanceUID
    np.testing.assert_array_equal(only(read_segmentation(path, clip)).mask, mask)
    both = write_segmentation(tmp_path / "b.dcm", [Segment("breast", mask[::-1]), Segment("breast_lesion", mask)], clip)
    for segment, expected in zip(read_segmentation(both, clip), (mask[::-1], mask), strict=True):
        np.testing.assert_array_equal(segment.mask, expected)
    fractional = write_mask(tmp_path / "fs.dcm", clip, mask * np.float32(0.2))
    np.testing.assert_allclose(only(read_segmentation(fractional, clip)).mask, mask * 0.2, atol=1e-6)
    with pytest.raises(BreastkitError, match="belongs to other images"):
        read_segmentation(path, picture)


def test_one_source_of_identifiers_gives_one_file(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    for name, text in (("a", "run 1"), ("b", "run 1"), ("c", "run 2")):
        write_mask(tmp_path / f"{name}.dcm", folder, uid_source=text)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    first, other = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in "ac")
    assert first.SeriesInstanceUID != other.SeriesInstanceUID and first.SOPInstanceUID != other.SOPInstanceUID


def test_a_source_without_names_is_enough(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))

    def strip(image):
        for name in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"):
            del image[name]

    edit_all(folder, strip)
    np.testing.assert_array_equal(
        only(read_segmentation(write_mask(tmp_path / "seg.dcm", folder), folder)).mask, an_l()
    )


@pytest.mark.parametrize(
    ("mask", "options", "words"),
    [
        (an_l((11, 9, 6)), {}, "11x9x6 does not fit"),
        (an_l() * 2, {}, "0 and 1"),
        (an_l() * np.float32(1.5), {}, "probabilities from 0 to 1"),
        (an_l() * np.float32(np.nan), {}, "probabilities from 0 to 1"),
        (an_l(), {"affine": shifted(affine_of(AXIAL), 0.4)}, "another grid"),
        (an_l(), {"affine": affine_of(OBLIQUE)}, "another grid"),
        (an_l(), {"affine": affine_of(AXIAL, spacing=(0.8, 1.1, 2.6))}, "another grid"),
        (an_l(), {"affine": np.zeros((4, 4))}, "another grid"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, mask, options, words):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    with pytest.raises(BreastkitError, match=words) as caught:
        write_mask(tmp_path / "seg.dcm", folder, mask, **options)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_multi_frame_scan_in_any_order_of_its_frames(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(OBLIQUE))
    scan = write_multi_frame(tmp_path / "enhanced", folder)
    path = write_mask(tmp_path / "seg.dcm", tmp_path / "enhanced")
    affine = read_series(tmp_path / "enhanced").affine
    assert np.allclose(world_of_file(path), world_of_mask(an_l(), affine), atol=0.02)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, an_l())
    np.testing.assert_array_equal(only(read_segmentation(path, tmp_path / "enhanced")).mask, an_l())
    for frame in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        there = scan.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, there)
