import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError
from breastkit.images import write_png
from breastkit.inference.picture_quality import REMARKS, remarks_on, remarks_on_outline
from breastkit.inference.ultrasound_inputs import UltrasoundPicture, read_ultrasound

EVERYTHING = (slice(None), slice(None))


def tissue(shape=(240, 320), mean=90):
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), (1, 2))
    return np.clip(mean + 30 * noise / noise.std(), 0, 255).astype(np.uint8)


def remarks(gray, **options):
    return remarks_on(UltrasoundPicture(gray, EVERYTHING, **options))


def test_a_usual_picture_gets_no_remark():
    assert remarks(tissue()) == ()


def two_panels():
    gray = tissue()
    gray[:, 150:160] = 0
    return gray


def dark_border():
    gray = tissue()
    gray[:, :60] = gray[:, -60:] = 0
    return gray


def marked():
    gray = tissue()
    # Callipers and text are thin and white.
    gray[20:220:4, 40:280:6] = 255
    return gray


@pytest.mark.parametrize(
    ("gray", "codes"),
    [
        (tissue((60, 300)), ("too_small",)),
        (tissue(mean=5), ("too_dark",)),
        (two_panels(), ("several_panels",)),
        (dark_border(), ()),
        (marked(), ("overlays",)),
    ],
    ids=["small", "dark", "two panels", "dark border", "marks"],
)
def test_what_is_wrong_has_its_code(gray, codes):
    assert remarks(gray) == codes
    assert set(codes) <= set(REMARKS)


def test_an_outline_that_reaches_the_border_may_be_cut():
    mask = np.zeros((20, 30), bool)
    mask[5:9, 5:9] = True
    assert remarks_on_outline(mask) == ()
    mask[5:9, 5:] = True
    assert remarks_on_outline(mask) == ("lesion_cut",)


def test_colour_is_seen_in_pictures_and_in_dicom(tmp_path):
    gray = np.repeat(tissue()[..., None], 3, axis=2)
    doppler = gray.copy()
    doppler[100:140, 100:160] = (200, 30, 20)
    photograph = np.random.default_rng(0).integers(0, 255, gray.shape, np.uint8)
    expected = {"gray": (), "doppler": ("colour",), "photograph": ("not_ultrasound",)}
    for name, pixels in zip(expected, (gray, doppler, photograph), strict=True):
        picture = read_ultrasound({"image": str(write_png(tmp_path / f"{name}.png", pixels))})
        assert tuple(code for code in remarks_on(picture) if code != "overlays") == expected[name]
    write_us_dicom(tmp_path / "gray.dcm", tissue()[None], spacing=0.1, patient="P", uid_seed="0")
    assert read_ultrasound({"image": str(tmp_path / "gray.dcm")}).colour == 0


def test_a_picture_of_nothing_is_refused(tmp_path):
    path = write_png(tmp_path / "blank.png", np.full((200, 200), 17, np.uint8))
    with pytest.raises(BreastkitError, match=r"blank\.png is of one gray value throughout"):
        read_ultrasound({"image": str(path)})
