"""Segmentations read onto the grid of their source, however they were written; what does not fit is refused."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from tests.dicom.scans import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    SHAPE,
    affine_of,
    an_l,
    edit,
    only,
    shifted,
    write_mask,
    write_scan,
)

from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.source_images import read_source_images
from breastkit.dicom.write_mr import MrStudy
from breastkit.dicom.write_seg import write_segmentation
from breastkit.errors import BreastkitError


@pytest.mark.parametrize("slices", [(0, 1), (6, 7), (3, 4)])
def test_a_single_slice_has_no_neighbour_to_tell_the_spacing(tmp_path, slices):
    folder = write_scan(tmp_path / "s", affine_of(OBLIQUE))
    path = write_mask(tmp_path / "seg.dcm", folder, an_l(slices=slices))

    def forget(dataset):
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SliceThickness = 9
        del measures.SpacingBetweenSlices

    edit(path, forget)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, an_l(slices=slices))


def test_slices_with_gaps_between_them_stay_where_they_are(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    mask = an_l(slices=(0, 7))
    mask[:, :, 1::2] = 0
    path = write_mask(tmp_path / "seg.dcm", folder, mask)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, mask)


def test_slices_far_apart_are_thin_where_no_header_tells_their_distance(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    mask = an_l(slices=(0, 7))
    mask[:, :, [0, *range(2, 6)]] = 0

    def forget(dataset):
        del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices

    path = edit(write_mask(tmp_path / "seg.dcm", folder, mask), forget)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, mask)


def reverse_frames(dataset):
    pixels = dataset.pixel_array[::-1]
    dataset.PerFrameFunctionalGroupsSequence = list(dataset.PerFrameFunctionalGroupsSequence)[::-1]
    dataset.PixelData = pydicom.pixels.pack_bits(pixels.astype(np.uint8))


def flip_rows(dataset):
    """Says the same with rows that run the other way and so slices seen from the other side."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    turn = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    step = float(shared.PixelMeasuresSequence[0].PixelSpacing[0])
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        moved = place + turn[3:] * step * (dataset.Rows - 1)
        frame.PlanePositionSequence[0].ImagePositionPatient = [round(v, 6) for v in moved]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [*turn[:3], *-turn[3:]]
    dataset.PixelData = pydicom.pixels.pack_bits(np.ascontiguousarray(dataset.pixel_array[:, ::-1]).astype(np.uint8))


def name_no_frame_of_reference(dataset):
    dataset.FrameOfReferenceUID = generate_uid()


@pytest.mark.parametrize("change", [reverse_frames, flip_rows, name_no_frame_of_reference])
@pytest.mark.parametrize("directions", [SAGITTAL, OBLIQUE], ids=["sagittal", "oblique"])
def test_however_another_program_wrote_it_the_mask_is_the_same(tmp_path, directions, change):
    folder = write_scan(tmp_path / "s", affine_of(directions))
    path = edit(write_mask(tmp_path / "seg.dcm", folder), change)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, an_l())


def test_a_mask_on_a_finer_grid_is_brought_onto_the_scan(tmp_path):
    affine = affine_of(CORONAL)
    folder = write_scan(tmp_path / "s", affine)
    fine = affine @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] = affine[:3, 3] + affine[:3, :3] @ [-0.25, -0.25, -0.25]
    finer = write_scan(tmp_path / "fine", fine, shape=tuple(2 * n for n in SHAPE), number=2)
    mask = an_l().repeat(2, 0).repeat(2, 1).repeat(2, 2)
    path = write_mask(tmp_path / "seg.dcm", finer, mask)
    np.testing.assert_array_equal(only(read_segmentation(path, folder)).mask, an_l())


def test_what_belongs_elsewhere_is_refused(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    path = write_mask(tmp_path / "seg.dcm", folder)
    other = write_scan(tmp_path / "o", affine_of(AXIAL), study=MrStudy(patient_id="P2", uid_source="another"))
    with pytest.raises(BreastkitError, match="belongs to other images"):
        read_segmentation(path, other)
    away = write_scan(tmp_path / "away", affine_of(AXIAL, origin=(200, 0, 0)), number=2)
    with pytest.raises(BreastkitError, match="lies nowhere"):
        read_segmentation(path, away)
    half = write_scan(tmp_path / "half", shifted(affine_of(AXIAL), -AXIAL[:, 0] * 4), number=3)
    edge = an_l()
    with pytest.raises(BreastkitError, match="reaches out"):
        read_segmentation(write_mask(tmp_path / "edge.dcm", half, edge), write_scan(
            tmp_path / "x", shifted(affine_of(AXIAL), AXIAL[:, 0] * 2), number=4))  # fmt: skip


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def drop_positions(path):
    edit(path, lambda d: [delattr(f, "PlanePositionSequence") for f in d.PerFrameFunctionalGroupsSequence])


def drop_segments(path):
    edit(path, lambda d: delattr(d, "SegmentSequence"))


def double_frames(path):
    def double(dataset):
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 7]

    edit(path, double)


def write_words(path):
    path.write_text("no segmentation")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "is damaged"),
        (drop_positions, "lacks parts"),
        (drop_segments, "no DICOM segmentation"),
        (double_frames, "in the same place"),
        (write_words, "not a DICOM file"),
        (lambda path: path.unlink(), "does not exist"),
    ],
)
def test_damaged_files_get_one_sentence(tmp_path, damage, words):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    path = write_mask(tmp_path / "seg.dcm", folder)
    damage(path)
    with pytest.raises(BreastkitError, match=words) as caught:
        read_segmentation(path, folder)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_sources_that_are_none_get_one_sentence(tmp_path):
    folder = write_scan(tmp_path / "s", affine_of(AXIAL))
    with pytest.raises(BreastkitError, match="name the folder of its series"):
        read_source_images(folder / "0001.dcm")
    with pytest.raises(BreastkitError, match="is no picture"):
        read_source_images(write_mask(tmp_path / "seg.dcm", folder))
    with pytest.raises(BreastkitError, match="at least one mask"):
        write_segmentation(tmp_path / "x.dcm", [], folder)
    with pytest.raises(BreastkitError, match="holds no MR or CT"):
        read_source_images(tmp_path)
