import numpy as np
import pytest

from breastkit.images import write_png
from breastkit.inference import read_ultrasound
from breastkit.inference.picture_quality import remarks_on
from breastkit.inference.tissue_window import EVERYTHING, tissue_window
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.phantoms.us.screens import scanner_screen


def phantom(case):
    return make_us_phantom(9, case, size=(240, 300), label="malignant").image


@pytest.mark.parametrize("background", [0, 40])
def test_the_part_of_a_screen_that_shows_tissue_is_found(background):
    for case in range(4):
        screen, place = scanner_screen(phantom(case), case, background=background)
        window = tissue_window(screen)
        for found, true in zip(window, place, strict=True):
            assert abs(found.start - true.start) < 30
            # Where sound does not reach it is as dark as the screen.
            assert true.start + 0.6 * (true.stop - true.start) < found.stop < true.stop + 30


def test_a_picture_that_is_no_screen_is_read_whole():
    for case in range(4):
        gray = phantom(case)
        assert tissue_window(gray) == EVERYTHING
        assert tissue_window(np.pad(gray, ((0, 60), (0, 0)))) == EVERYTHING
        assert tissue_window(np.pad(np.hstack((gray, np.zeros_like(gray[:, :80]), gray)), 60)) == EVERYTHING
    assert tissue_window(np.zeros((40, 50), np.uint8)) == EVERYTHING


def test_a_screen_is_remarked_on_and_its_outline_goes_back_to_its_place(tmp_path):
    screen, place = scanner_screen(phantom(1), 1)
    picture = read_ultrasound({"image": str(write_png(tmp_path / "screen.png", screen))})
    assert "screen" in remarks_on(picture)
    whole = picture.on_whole(np.ones(picture.tissue.shape, bool))
    assert whole.shape == screen.shape
    assert whole[place].mean() > 0.7
