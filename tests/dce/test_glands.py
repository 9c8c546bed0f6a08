"""Glands are found whatever the contrast, and measured by breast."""

import numpy as np
import pytest

from breastkit.dce.glands import GlandMeasures, gland_measures, outline_glands
from breastkit.dce.voxel_box import Grid
from breastkit.metrics import dice
from breastkit.phantoms.mri import make_mri_phantom

SPACING = (2.0, 1.0, 1.0)


def breast_and_gland():
    breast, gland = np.zeros((10, 60, 80), bool), np.zeros((10, 60, 80), bool)
    breast[1:9, 10:50, 10:70] = True
    gland[3:7, 24:34, 30:46] = True
    return breast, gland


@pytest.mark.parametrize(("fat", "signal"), [(100, 220), (220, 100)])
def test_gland_is_what_little_differs_from_the_fat_bright_or_dark(fat, signal):
    breast, gland = breast_and_gland()
    noise = np.random.default_rng(0).normal(0, 8, breast.shape)
    scan = np.where(gland, signal, np.where(breast, fat, 5)) * np.linspace(1, 1.6, 80) + noise
    found = outline_glands(scan.astype(np.float32), breast, SPACING)
    assert dice(found, gland) > 0.9 and not (found & ~breast).any()


def test_most_glands_of_a_phantom_that_has_plenty_are_found():
    phantom = make_mri_phantom(9001, 7, shape=(192, 192, 12), phases=2, lesions=0)
    grid = Grid.of(phantom.breast.shape, phantom.affine)
    scan, breast, glands = (grid.turn(one) for one in (phantom.phases[0], phantom.breast, phantom.fibroglandular))
    assert dice(outline_glands(scan.astype(np.float32), breast, grid.axial.spacing), glands) > 0.7


@pytest.mark.parametrize("value", [0, 100])
def test_no_breast_and_a_flat_one_have_no_glands(value):
    breast, _ = breast_and_gland()
    scan = np.full(breast.shape, value, np.float32)
    assert not outline_glands(scan, np.zeros_like(breast), SPACING).any()
    assert not outline_glands(scan, breast, SPACING).any()


def test_volumes_share_and_enhancement():
    breast, gland = breast_and_gland()
    before = np.full(breast.shape, 100.0)
    after = before + np.where(gland, 20, 0)
    after[3] += np.where(gland[3], 40, 0)
    measured = gland_measures(breast, gland, before, after, spacing=SPACING)
    assert measured.breast_ml == pytest.approx(8 * 40 * 60 * 2 / 1000)
    assert measured.fgt_ml == pytest.approx(4 * 10 * 16 * 2 / 1000)
    assert measured.share == pytest.approx(640 / 19200)
    # A slice of four enhances by 60 %, the others by 20.
    assert (measured.bpe_mean, measured.bpe_quartile) == (pytest.approx(0.3), pytest.approx(0.6))
    unknown = gland_measures(breast, gland, before - 1000, after - 1000, spacing=SPACING)
    assert unknown.bpe_mean is unknown.bpe_quartile is None and unknown.fgt_ml == measured.fgt_ml
    assert gland_measures(breast, gland, before, after, spacing=SPACING, shares=False).bpe_mean is None


def test_density_is_the_last_category_whose_share_is_reached():
    found = [GlandMeasures(100, ml).density() for ml in (0, 7.9, 8, 20, 45, 80)]
    assert found == ["a", "a", "b", "c", "d", "d"]
    assert GlandMeasures(100, 30).density({"fatty": 0, "dense": 0.3}) == "dense"
    assert GlandMeasures(0, 0).density() is None
