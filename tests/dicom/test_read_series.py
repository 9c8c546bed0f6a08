"""Series are read with the right geometry, and what is no volume is refused with a sentence."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    MRImageStorage,
    RLELossless,
    SegmentationStorage,
    generate_uid,
)

from breastkit.dicom import holds_dicom, list_series, read_folder, read_series
from breastkit.errors import BreastkitError

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)


def volume(shape=(12, 10, 6)):
    """A volume of distinct values, [column, row, slice]."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def write_slice(path, pixels, position, *, orientation=AXIAL, instance=1, spacing=(0.5, 0.8), uid="1.2.3", **tags):
    dataset = FileDataset(str(path), {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = tags.pop("SOPClassUID", MRImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.PatientID = uid, "1.2", "Phantom_007"
    dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber = "MR", "dyn", 3
    dataset.InstanceNumber = instance
    if position is not None:
        dataset.ImagePositionPatient = [float(value) for value in position]
        dataset.ImageOrientationPatient = list(orientation)
        dataset.PixelSpacing = list(spacing)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.PixelData = pixels.astype(np.int16).tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def write_series(folder: Path, array, *, orientation=AXIAL, step=2.0, origin=(-5, -7, 11), downwards=True, **tags):
    """Writes [column, row, slice] with instance numbers in slice order; `downwards` runs against the normal."""
    normal = np.cross(orientation[:3], orientation[3:]) * (-1 if downwards else 1)
    for k in range(array.shape[2]):
        write_slice(
            folder / f"{array.shape[2] - k:03d}.dcm",  # file names tell nothing of the order
            array[:, :, k].T,
            np.array(origin) + k * step * normal,
            orientation=orientation,
            instance=k + 1,
            **tags,
        )
    return folder


@pytest.mark.parametrize("downwards", [True, False])
@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, (0.8, 0.6, 0, -0.6, 0.8, 0)])
def test_array_and_affine_follow_the_instance_numbers(tmp_path, orientation, downwards):
    array = volume()
    image = read_series(write_series(tmp_path / "s", array, orientation=orientation, downwards=downwards))
    np.testing.assert_array_equal(image.array, array)
    # every voxel's world position, computed from the DICOM definition, in RAS
    for i, j, k in [(0, 0, 0), (11, 0, 0), (0, 9, 0), (3, 4, 5)]:
        normal = np.cross(orientation[:3], orientation[3:]) * (-1 if downwards else 1)
        across, down = np.array(orientation[:3]), np.array(orientation[3:])
        lps = np.array([-5, -7, 11]) + across * i * 0.8 + down * j * 0.5 + normal * k * 2.0
        np.testing.assert_allclose((image.affine @ [i, j, k, 1])[:3], lps * [-1, -1, 1], atol=1e-9)


def test_slices_sort_by_position_where_instance_numbers_do_not_run_through(tmp_path):
    array = volume()
    for k, instance in enumerate([1, 3, 5, 2, 4, 6]):
        write_slice(tmp_path / f"{k}.dcm", array[:, :, k].T, (0, 0, 2.0 * k), instance=instance)
    image = read_series(tmp_path)
    np.testing.assert_array_equal(image.array, array)
    assert image.affine[2, 2] == pytest.approx(2.0)


def test_rescale_gives_floats(tmp_path):
    write_series(tmp_path, volume(), RescaleSlope=0.5, RescaleIntercept=-3)
    image = read_series(tmp_path)
    assert image.array.dtype == np.float32
    np.testing.assert_allclose(image.array, volume() * 0.5 - 3)


def test_run_length_compression_is_read(tmp_path):
    write_series(tmp_path, volume())
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_series(tmp_path).array, volume())


def test_enhanced_multiframe_reads_like_single_frames(tmp_path):
    array = volume()
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = [0.5, 0.8], list(AXIAL)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    frames = []
    for k in range(array.shape[2]):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [-5, -7, 11 - 2.0 * k]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    write_slice(
        tmp_path / "enhanced" / "1.dcm",
        array.transpose(2, 1, 0),
        None,
        SOPClassUID=EnhancedMRImageStorage,
        NumberOfFrames=array.shape[2],
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    enhanced = read_series(tmp_path / "enhanced")
    single = read_series(write_series(tmp_path / "single", array))
    np.testing.assert_array_equal(enhanced.array, single.array)
    np.testing.assert_allclose(enhanced.affine, single.affine)


def test_other_objects_are_left_aside_and_named(tmp_path):
    write_series(tmp_path, volume())
    write_slice(tmp_path / "seg.dcm", volume()[:, :, 0].T, None, SOPClassUID=SegmentationStorage, uid="1.2.9")
    (tmp_path / "notes.txt").write_text("hello")
    contents = read_folder(tmp_path)
    assert {path.name for path, _ in contents.skipped} == {"seg.dcm", "notes.txt"}
    assert any("Segmentation" in reason for _, reason in contents.skipped)
    assert read_series(tmp_path).array.shape == (12, 10, 6)


def test_a_study_lists_its_series_and_one_can_be_chosen(tmp_path):
    for number, time in ((2, "101500"), (1, "101000")):
        write_series(
            tmp_path / f"phase {number}",
            volume() + number,
            uid=f"1.2.{number}",
            SeriesNumber=number,
            AcquisitionTime=time,
        )
    found = list_series(tmp_path)
    assert [one.number for one in found] == [1, 2]
    assert [one.time for one in found] == ["101000", "101500"]
    np.testing.assert_array_equal(read_series(found[1]).array, volume() + 2)
    assert holds_dicom(tmp_path / "phase 1")
    assert not holds_dicom(tmp_path)


def break_two_series(folder):
    write_series(folder / "x", volume(), uid="1.2.7")
    (folder / "x").rename(folder / "moved")
    for path in (folder / "moved").iterdir():
        path.rename(folder / f"b{path.name}")
    (folder / "moved").rmdir()


def break_missing_slice(folder):
    (folder / "003.dcm").unlink()


def break_patients(folder):
    edit(folder / "003.dcm", PatientID="someone else")


def break_truncated(folder):
    data = (folder / "003.dcm").read_bytes()
    (folder / "003.dcm").write_bytes(data[:-60])


def break_text(folder):
    (folder / "003.dcm").write_text("no image")


def break_doubled(folder):
    write_slice(folder / "twice.dcm", volume()[:, :, 0].T, (-5, -7, 11), instance=1)


def break_direction(folder):
    edit(folder / "003.dcm", ImageOrientationPatient=list(SAGITTAL))


def break_size(folder):
    write_slice(folder / "003.dcm", volume()[:, :5, 0].T, (-5, -7, 5), instance=4)


def break_position(folder):
    edit(folder / "003.dcm", ImagePositionPatient=None)


def break_shift(folder):
    edit(folder / "003.dcm", ImagePositionPatient=[0, -7, 5])


def break_colour(folder):
    edit(folder / "003.dcm", SamplesPerPixel=3, PlanarConfiguration=0, BitsAllocated=8, BitsStored=8, HighBit=7,
         PhotometricInterpretation="RGB", PixelRepresentation=0, PixelData=bytes(12 * 10 * 3))  # fmt: skip


def break_pixels(folder):
    dataset = pydicom.dcmread(folder / "003.dcm")
    del dataset.PixelData
    dataset.save_as(folder / "003.dcm")


def break_codec(folder):
    dataset = pydicom.dcmread(folder / "003.dcm")
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 nothing \xff\xd9"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(folder / "003.dcm")


def break_single(folder):
    for path in folder.iterdir():
        if path.name != "003.dcm":
            path.unlink()


def break_flat(folder):
    for path in folder.iterdir():
        edit(path, PixelData=bytes(12 * 10 * 2))


def edit(path, **tags):
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_two_series, "holds 2 series"),
        (break_missing_slice, "1 of its slices missing after slice 3"),
        (break_patients, "mixes 2 patients"),
        (break_truncated, "003.dcm is truncated"),
        (break_text, "003.dcm is not a DICOM file"),
        (break_doubled, "images of the same slice"),
        (break_direction, "different directions"),
        (break_size, "different size"),
        (break_position, "where in the patient"),
        (break_shift, "shifted against each other"),
        (break_colour, "colour"),
        (break_pixels, "no pixels"),
        (break_codec, "compressed as JPEG Lossless"),
        (break_single, "single slice"),
        (break_flat, "same value everywhere"),
    ],
)
def test_what_is_no_volume_gets_one_sentence(tmp_path, damage, words):
    folder = write_series(tmp_path / "série (1)", volume())
    damage(folder)
    with pytest.raises(BreastkitError, match=words.replace("(", r"\(")) as caught:
        read_series(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert "Phantom_007" not in message


def test_empty_and_missing_folders_get_a_sentence(tmp_path):
    with pytest.raises(BreastkitError, match="holds no MR or CT image series"):
        read_series(tmp_path)
    with pytest.raises(BreastkitError, match="is not a folder"):
        read_series(tmp_path / "nowhere")


def test_two_patients_in_two_series_are_refused(tmp_path):
    write_series(tmp_path, volume())
    write_slice(tmp_path / "other.dcm", volume()[:, :, 0].T, (0, 0, 0), uid="1.2.8", PatientID="someone else")
    with pytest.raises(BreastkitError, match="mixes several patients"):
        read_series(tmp_path)
