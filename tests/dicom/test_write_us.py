import numpy as np
import pydicom
import pytest

from breastkit.dicom.write_us import write_us_dicom


def frames(count):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 33, 47), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 5])
def test_what_was_written_is_read_back(tmp_path, count):
    written = frames(count)
    path = write_us_dicom(
        tmp_path / "s" / "a.dcm", written, spacing=0.09, patient="US_001", uid_seed="0 0", frame_time=40
    )
    dataset = pydicom.dcmread(path)
    assert np.array_equal(dataset.pixel_array.reshape(written.shape), written)
    assert dataset.Modality == "US"
    assert dataset.SOPClassUID.name == (
        "Ultrasound Image Storage" if count == 1 else "Ultrasound Multi-frame Image Storage"
    )
    assert dataset.SequenceOfUltrasoundRegions[0].PhysicalDeltaX == pytest.approx(0.009)
    if count > 1:
        assert dataset.NumberOfFrames == count
        assert dataset.FrameTime == 40
        assert dataset[dataset.FrameIncrementPointer].value == 40


def test_identifiers_follow_the_seed_and_the_series(tmp_path):
    read = {}
    for name, seed, series in (("a", "0 0", 1), ("again", "0 0", 1), ("clip", "0 0", 2), ("other", "0 1", 1)):
        path = tmp_path / f"{name}.dcm"
        write_us_dicom(path, frames(1), spacing=0.1, patient="P", uid_seed=seed, series_number=series)
        read[name] = pydicom.dcmread(path)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "again.dcm").read_bytes()
    assert read["a"].StudyInstanceUID == read["clip"].StudyInstanceUID != read["other"].StudyInstanceUID
    assert read["a"].SeriesInstanceUID != read["clip"].SeriesInstanceUID
    assert len({each.SOPInstanceUID for each in read.values()}) == 3


def test_colour_is_refused(tmp_path):
    with pytest.raises(ValueError, match="8-bit gray"):
        write_us_dicom(tmp_path / "a.dcm", np.zeros((2, 3), np.float32), spacing=1, patient="P", uid_seed="0")
    assert not list(tmp_path.iterdir())
