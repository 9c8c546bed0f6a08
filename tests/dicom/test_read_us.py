import numpy as np
import pydicom
import pytest
from pydicom.pixels import compress
from pydicom.uid import MRImageStorage, RLELossless

from breastkit.dicom import count_us_frames, read_us_frame, us_tissue_window, why_no_ultrasound
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError


def frames(count):
    return np.random.default_rng(0).integers(0, 256, (count, 33, 47), dtype=np.uint8)


@pytest.fixture
def clip(tmp_path):
    return write_us_dicom(tmp_path / "a clip.dcm", frames(4), spacing=0.09, patient="US_001", uid_seed="0")


def changed(path, **values):
    dataset = pydicom.dcmread(path)
    for key, value in values.items():
        setattr(dataset, key, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("count", [1, 4])
def test_frames_come_back_as_written(tmp_path, count):
    path = write_us_dicom(tmp_path / "a.dcm", frames(count), spacing=0.09, patient="P", uid_seed="0")
    assert why_no_ultrasound(path) is None
    assert count_us_frames(path) == count
    for number in range(count):
        read = read_us_frame(path, number)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, frames(count)[number])


def test_compressed_frames_come_back(clip):
    dataset = pydicom.dcmread(clip)
    compress(dataset, RLELossless)
    dataset.save_as(clip)
    np.testing.assert_array_equal(read_us_frame(clip, 2), frames(4)[2])


def test_colour_becomes_its_luminance(tmp_path):
    path = write_us_dicom(tmp_path / "a.dcm", frames(1), spacing=0.09, patient="P", uid_seed="0")
    colour = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    changed(path, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, Rows=32, Columns=48,
            PixelData=colour.tobytes())  # fmt: skip
    expected = colour @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(read_us_frame(path), expected, atol=0.51)


def test_inverted_gray_is_turned_back(tmp_path):
    path = write_us_dicom(tmp_path / "a.dcm", frames(1), spacing=0.09, patient="P", uid_seed="0")
    changed(path, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_us_frame(path), frames(1)[0].max() - frames(1)[0])


def test_a_secondary_capture_of_ultrasound_counts(clip):
    changed(clip, SOPClassUID="1.2.840.10008.5.1.4.1.1.7.2")
    assert count_us_frames(clip) == 4


def test_other_objects_are_named(clip):
    changed(clip, SOPClassUID=MRImageStorage, Modality="MR")
    assert why_no_ultrasound(clip) == "MR Image Storage, not an ultrasound image"
    with pytest.raises(BreastkitError, match=r"a clip\.dcm holds a MR Image Storage, not an ultrasound image; export"):
        read_us_frame(clip)


def test_the_tissue_is_where_the_object_says(clip):
    assert us_tissue_window(clip) == (slice(0, 33), slice(0, 47))
    region = pydicom.dcmread(clip).SequenceOfUltrasoundRegions[0]
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 5, 3
    changed(clip, SequenceOfUltrasoundRegions=[region])
    assert us_tissue_window(clip) == (slice(3, 33), slice(5, 47))
    region.RegionLocationMaxX1 = 47
    for odd in ([region], [], [region, region]):
        changed(clip, SequenceOfUltrasoundRegions=odd)
        assert us_tissue_window(clip) == (slice(None), slice(None))


def test_there_is_no_fifth_frame_of_four(clip):
    with pytest.raises(BreastkitError, match="has 4 frames and no frame 5"):
        read_us_frame(clip, 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is not a DICOM file"), (b"text" * 100, "is not a DICOM file"), (None, "is truncated or damaged")],
)
def test_damaged_files_are_named(clip, content, words):
    clip.write_bytes(clip.read_bytes()[:-4000] if content is None else content)
    with pytest.raises(BreastkitError, match=rf"a clip\.dcm {words}"):
        read_us_frame(clip, 3)
