import numpy as np
import pydicom
import pytest
from PIL import Image

from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.inference import find_ultrasound, read_ultrasound


def frames(count):
    return np.random.default_rng(0).integers(0, 256, (count, 20, 30), dtype=np.uint8)


def clip(path, count):
    return write_us_dicom(path, frames(count), spacing=0.1, patient="P", uid_seed="0")


def test_every_frame_of_a_clip_is_an_input_with_its_number_in_the_name(tmp_path):
    clip(tmp_path / "a clip.dcm", 12)
    clip(tmp_path / "one.dcm", 1)
    write_png(tmp_path / "b (1).png", frames(1)[0])
    items = find_ultrasound(tmp_path).items
    assert len(items) == 14
    assert [(item["name"], item["file"]) for item in items if item.get("frame", 0) in (0, 11)] == [
        ("a clip_frame01", "a clip.dcm#frame01"),
        ("a clip_frame12", "a clip.dcm#frame12"),
        ("b (1)", "b (1).png"),
        ("one", "one.dcm"),
    ]
    np.testing.assert_array_equal(read_ultrasound(items[4]).gray, frames(12)[4])


@pytest.mark.parametrize("end", ["png", "jpg", "tif", "bmp"])
def test_pictures_of_any_format(tmp_path, end):
    gray = np.full((20, 30), 90, np.uint8)
    gray[:, 16:] = 150
    Image.fromarray(gray).convert("RGB").save(tmp_path / f"x.{end}", **({"quality": 100} if end == "jpg" else {}))
    (item,) = find_ultrasound(tmp_path / f"x.{end}").items
    shown = read_ultrasound(item)
    assert np.abs(shown.tissue.astype(int) - gray).max() <= 2
    assert shown.tissue.shape == (20, 30)


def test_only_what_shows_tissue_is_read_and_goes_back_to_its_place(tmp_path):
    path = clip(tmp_path / "x.dcm", 1)
    dataset = pydicom.dcmread(path)
    region = dataset.SequenceOfUltrasoundRegions[0]
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 10, 4
    dataset.save_as(path)
    shown = read_ultrasound(find_ultrasound(path).items[0])
    np.testing.assert_array_equal(shown.tissue, frames(1)[0][4:, 10:])
    whole = shown.on_whole(np.ones(shown.tissue.shape, bool))
    assert whole.shape == (20, 30)
    assert not whole[:4].any()
    assert not whole[:, :10].any()
    assert whole[4:, 10:].all()


def test_two_inputs_that_would_write_the_same_name_are_refused(tmp_path):
    clip(tmp_path / "x.dcm", 2)
    write_png(tmp_path / "x_frame1.png", frames(1)[0])
    with pytest.raises(BreastkitError, match=r"x\.dcm#frame1 and x_frame1\.png in .* outputs of the same name"):
        find_ultrasound(tmp_path)
    write_png(tmp_path / "x.png", frames(1)[0])
    with pytest.raises(BreastkitError, match=r"x\.dcm and x\.png in .* outputs of the same name"):
        find_ultrasound(tmp_path)


def test_a_damaged_object_is_an_input_whose_reading_gives_the_sentence(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"no dicom")
    (item,) = find_ultrasound(tmp_path).items
    with pytest.raises(BreastkitError, match=r"x\.dcm is not a DICOM file although it is named so"):
        read_ultrasound(item)
