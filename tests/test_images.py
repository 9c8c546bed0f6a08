import itertools

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pictures

from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_header, read_mask, read_volume, stem, write_nifti, write_png

AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(["LR", "PA", "IS"]) for codes in itertools.product(*axes)
]


def affine_of(codes, spacing=(0.7, 1.3, 2.1), origin=(-11.0, 23.0, 5.0)):
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(codes):
        world, sign = AXES[code]
        affine[world, axis] = sign * spacing[axis]
    affine[:3, 3] = origin
    return affine


@pytest.fixture
def scan(tmp_path):
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    return write_nifti(tmp_path / "scan.nii.gz", array, affine_of("LAS"))


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@settings(max_examples=60, deadline=None)
@given(
    codes=st.sampled_from(ORIENTATIONS),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    compressed=st.booleans(),
)
def test_a_voxel_keeps_its_place_in_the_world(tmp_path_factory, codes, spacing, origin, compressed):
    folder = tmp_path_factory.mktemp("geometry")
    affine = affine_of(codes, spacing, origin)
    array = np.zeros((4, 5, 6), np.int16)
    array[1, 3, 2] = 7
    path = write_nifti(folder / f"x.nii{'.gz' if compressed else ''}", array, affine)
    for image_affine, values in (
        (read_volume(path).affine, read_volume(path).array),
        (nibabel.load(path).get_qform(), np.asarray(nibabel.load(path).dataobj)),
    ):
        (voxel,) = np.argwhere(values == 7)
        assert np.allclose(image_affine @ [*voxel, 1], affine @ [1, 3, 2, 1], atol=1e-2)
    assert read_header(path).shape == (4, 5, 6)


def test_integers_stay_and_scaled_data_become_float(tmp_path, scan):
    assert read_volume(scan).array.dtype == np.int16
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.int16), np.eye(4))
    image.dataobj[0, 0, 0] = 3
    image.header.set_slope_inter(0.5, 1)
    nibabel.save(image, tmp_path / "scaled.nii")
    assert read_volume(tmp_path / "scaled.nii").array.dtype == np.float32


def test_names_lose_their_suffix_only():
    assert stem("a/b.c (1).nii.gz") == "b.c (1)"
    assert stem("a/x.PNG") == "x"
    assert stem("a/series.1") == "series.1"


def _save(path, array, affine=None):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def _broken(folder):
    ramp = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    _save(folder / "4d.nii.gz", np.stack([ramp, ramp], -1))
    _save(folder / "slice.nii.gz", ramp[..., :1])
    _save(folder / "constant.nii.gz", np.zeros((4, 4, 4), np.int16))
    _save(folder / "nan.nii.gz", np.where(ramp == 3, np.nan, ramp))
    zero = nibabel.Nifti1Image(ramp, None)
    zero.header["sform_code"], zero.header["qform_code"] = 1, 0
    zero.header["srow_x"] = zero.header["srow_y"] = zero.header["srow_z"] = 0
    zero.to_filename(folder / "affine.nii.gz")
    write_nifti(folder / "whole.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20), np.int16), np.eye(4))
    whole = (folder / "whole.nii.gz").read_bytes()
    (folder / "truncated.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_nifti(folder / "plain.nii", np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
    (folder / "short.nii").write_bytes((folder / "plain.nii").read_bytes()[:-10])
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "text.nii").write_text("this is text " * 100)
    (folder / "folder.nii").mkdir()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("4d.nii.gz", "4 dimensions"),
        ("slice.nii.gz", "single slice"),
        ("constant.nii.gz", "same value everywhere"),
        ("nan.nii.gz", "NaN"),
        ("affine.nii.gz", "affine"),
        ("truncated.nii.gz", "truncated"),
        ("short.nii", "truncated"),
        ("empty.nii.gz", "is empty"),
        ("text.nii", "not a NIfTI"),
        ("missing.nii", "does not exist"),
        ("folder.nii", "is a folder"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_sentence(tmp_path, name, words):
    _broken(tmp_path)
    with pytest.raises(BreastkitError, match=words) as caught:
        read_volume(tmp_path / name)
    assert name in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["truncated.nii.gz", "short.nii", "empty.nii.gz", "text.nii"])
def test_damage_shows_without_reading_the_pixels(tmp_path, name):
    _broken(tmp_path)
    with pytest.raises(BreastkitError):
        read_header(tmp_path / name)


def test_masks_hold_zero_and_one_only(tmp_path, scan):
    with pytest.raises(BreastkitError, match="other values than 0 and 1"):
        read_volume(scan, mask=True)
    _save(tmp_path / "mask.nii", np.eye(4, dtype=np.float32)[None].repeat(4, 0))
    assert read_volume(tmp_path / "mask.nii", mask=True).array.dtype == np.uint8


def _mask_picture(mode):
    inside = np.zeros((8, 10), np.uint8)
    inside[2:5, 3:7] = 1
    gray = Pictures.fromarray(inside * 255)
    if mode == "1":
        return gray.convert("1")
    if mode == "0/1":
        return Pictures.fromarray(inside)
    if mode == "RGBA":
        picture = gray.convert("RGBA")
        picture.putalpha(255)
        return picture
    if mode == "I;16":
        return Pictures.fromarray((inside * 65535).astype(np.uint16))
    return gray.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "0/1", "LA", "P", "RGB", "RGBA", "I;16", "I"])
def test_masks_of_any_mode_read_the_same(tmp_path, mode):
    _mask_picture(mode).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert mask.shape == (8, 10)
    assert mask.sum() == 12
    assert mask[2:5, 3:7].all()
    assert read_header(tmp_path / "m.png").shape == (8, 10)


@pytest.mark.parametrize(
    ("suffix", "mode"), [("jpg", "CMYK"), ("tif", "I;16"), ("bmp", "RGB"), ("png", "P"), ("png", "RGBA")]
)
def test_pictures_of_any_kind_become_gray(tmp_path, suffix, mode):
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (16, 1))
    picture = Pictures.fromarray(ramp)
    picture = Pictures.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / f"x.{suffix}")
    gray = read_gray(tmp_path / f"x.{suffix}")
    assert gray.dtype == np.uint8
    assert np.abs(gray.astype(int) - ramp).max() <= 6


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Pictures.fromarray(np.full((6, 6), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert (read_gray(tmp_path / "a.png") == 10).all()


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "pixel"])
def test_damaged_pictures_are_named_in_one_sentence(tmp_path, damage):
    path = tmp_path / "größe (1).png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    write_png(path, noise[:1, :1] if damage == "pixel" else noise)
    if damage != "pixel":
        path.write_bytes({"empty": b"", "text": b"hello", "truncated": path.read_bytes()[:900]}[damage])
    with pytest.raises(BreastkitError, match="größe"):
        read_gray(path)
