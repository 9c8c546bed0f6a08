import numpy as np
import pytest

from breastkit.pictures import PREDICTION, grid, heat, outline, overlay, tiles, to_gray8


def _square():
    mask = np.zeros((20, 30), np.uint8)
    mask[5:12, 8:20] = 1
    return mask


def test_windowing_uses_the_full_range_and_survives_a_flat_image():
    ramp = to_gray8(np.linspace(-3, 7, 600).reshape(20, 30))
    assert (ramp.min(), ramp.max()) == (0, 255)
    assert not to_gray8(np.full((4, 4), 5.0)).any()


def test_an_outline_marks_the_border_and_leaves_the_inside():
    picture = outline(np.full((20, 30), 100, np.uint8), _square())
    marked = (picture == PREDICTION).all(-1)
    assert marked[5, 8:20].all()
    assert marked[5:12, 8].all()
    assert not marked[6:11, 9:19].any()
    assert (picture[~marked] == 100).all()


def test_an_overlay_tints_inside_only():
    gray = np.full((20, 30), 100, np.uint8)
    picture = overlay(gray, _square())
    assert (picture[~_square().astype(bool)] == 100).all()
    assert (picture[8, 12] != 100).any()


def test_a_grid_fits_pictures_of_any_shape_into_tiles():
    wide, tall = np.full((10, 40), 200, np.uint8), np.full((40, 10), 90, np.uint8)
    canvas = grid([[wide, tall], [tall]], tile=64, column_titles=["a", "b"], row_titles=["x"])
    assert canvas.shape == (22 + 2 * 68, 2 * 68, 3)
    tile = canvas[22 : 22 + 64, :64]
    rows, columns = np.where((tile == 200).all(-1))
    assert np.ptp(columns) + 1 == 64
    assert np.ptp(rows) + 1 == 16


def test_tiles_come_out_of_a_grid_as_they_went_in():
    squares = [np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8) for seed in range(3)]
    for titles in ([], ["a", "b", "c"]):
        again = tiles(grid([squares], tile=40, column_titles=titles), columns=3, titled=bool(titles))
        assert all(np.array_equal(before, after) for before, after in zip(squares, again, strict=True))
    with pytest.raises(ValueError, match="no row of 3 tiles"):
        tiles(grid([squares[:2]], tile=40), columns=3, titled=False)


def test_heat_leaves_what_is_zero_and_brightens_what_is_one():
    gray = np.full((20, 30), 60, np.uint8)
    relevance = np.zeros((20, 30))
    relevance[5:12, 8:20] = 1
    picture = heat(gray, relevance)
    assert (picture[relevance == 0] == 60).all()
    assert picture[8, 12].sum() > 2 * 3 * 60
