import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from breastkit.dce.features import air_around, kinetic_features, place_features, shape_features
from breastkit.dce.landmarks import ChestWall


def ball(radius, size=41, spacing=(1.0, 1.0, 1.0)):
    axes = np.meshgrid(*((np.arange(size) - size // 2) * step for step in spacing), indexing="ij")
    return sum(axis**2 for axis in axes) <= radius**2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
def test_a_ball_has_the_volume_diameter_and_sphericity_of_a_ball(spacing):
    features = shape_features(ball(12, spacing=spacing), spacing=spacing)
    assert features["volume_mm3"] == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.05)
    assert features["longest_diameter_mm"] == pytest.approx(24, rel=0.12)
    assert features["sphericity"] > 0.85


def test_a_rod_is_long_and_less_round():
    mask = np.zeros((5, 5, 40), dtype=bool)
    mask[2, 2, 5:35] = True
    features = shape_features(mask, spacing=(1, 1, 1))
    assert features["longest_diameter_mm"] == pytest.approx(np.sqrt(30**2 + 2), rel=1e-6)
    assert features["sphericity"] < 0.6


def test_a_single_voxel_has_features():
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[1, 1, 1] = True
    features = shape_features(mask, spacing=(1, 1, 2))
    assert features["volume_mm3"] == 2
    assert features["longest_diameter_mm"] == pytest.approx(np.sqrt(6))


def test_distances_to_skin_chest_wall_and_nipple():
    """Along the rows: air up to 10, breast from there to 29, chest from 30, with a lung in it."""
    scan = np.full((20, 50, 20), 100.0)
    scan[:, :10] = scan[:, 36:44] = 0
    breast, lesion = np.zeros_like(scan, dtype=bool), np.zeros_like(scan, dtype=bool)
    breast[:, 10:30] = True
    lesion[8:12, 25:28, 8:12] = True
    # Skin that the mask leaves out is no chest wall.
    breast[:, 10] = False
    wall = ChestWall.behind(breast, (1, 2.0, 1))
    nipple = np.array([9.0, 20.0, 9.0])
    features = place_features(lesion, air_around(breast, scan), wall, nipple, spacing=(1, 2.0, 1))
    assert features == {
        "distance_to_skin_mm": 32.0,
        # From the middle of the last voxel of the lesion to the edge of the last one of the breast.
        "distance_to_chest_wall_mm": pytest.approx(5.0, abs=0.05),
        "distance_to_nipple_mm": pytest.approx(30.0),
    }
    none = np.zeros_like(breast)
    nowhere = place_features(lesion, air_around(none, scan), ChestWall.behind(none, (1, 2, 1)), spacing=(1, 2, 1))
    assert nowhere == dict.fromkeys(features)


def test_between_the_breasts_is_air_and_the_chest_behind_it_is_not():
    scan = np.full((6, 40, 60), 100.0)
    breast = np.zeros_like(scan, dtype=bool)
    breast[:, 5:20, 5:25] = breast[:, 5:20, 35:55] = True
    scan[:, :5] = scan[:, :18, 25:35] = 0
    scan[:, 24:] = 0
    air = air_around(breast, scan)
    assert air[:, :5].all() and air[:, 5:18, 25:35].all()
    assert not air[:, 20:].any()


def test_the_distance_to_skin_is_that_of_the_whole_study():
    """However far away it lies: the box that is looked at grows until it holds the nearest voxel."""
    random = np.random.default_rng(0)
    shape, spacing = (60, 50, 30), (1.5, 2.0, 4.0)
    places = set()
    for share in (0, 1e-5, 1e-4, 1e-3, 1e-2):
        lesion = np.zeros(shape, dtype=bool)
        start = random.integers((5, 5, 5), (50, 40, 22))
        lesion[tuple(slice(first, first + 4) for first in start)] = True
        air = random.random(shape) < share
        found = place_features(lesion, air, None, spacing=spacing)["distance_to_skin_mm"]
        there = air & ~lesion
        far = distance_transform_edt(~there, sampling=spacing)[lesion].min() if there.any() else None
        assert found == (None if far is None else pytest.approx(far))
        places.add("none" if far is None else "far" if far > 16 else "near")
    assert places == {"none", "far", "near"}


@pytest.mark.parametrize(("last", "kind"), [(260, "persistent"), (200, "plateau"), (150, "washout")])
def test_kinetic_class_by_what_follows_the_first_phase(last, kind):
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1, 1, 1:3] = True
    phases = [np.where(mask, value, 7.0) for value in (100.0, 200.0, last)]
    features = kinetic_features(mask, phases)
    assert features["kinetic_class"] == kind
    assert features["wash_in"] == pytest.approx(1.0)
    assert features["wash_out"] == pytest.approx(1 - last / 200)
    assert features["signal_enhancement_ratio"] == pytest.approx(100 / (last - 100))
    assert features["enhancement"] == f"1.000 {last / 100 - 1:.3f}"


def test_what_is_no_share_of_a_signal_stays_empty():
    """An offset of -1000, or z-scores: the ratio of changes alone is what it was."""
    mask = np.ones((2, 2, 2), dtype=bool)
    plain, offset = (
        kinetic_features(mask, [np.full((2, 2, 2), value - less) for value in (100.0, 200.0, 150.0)])
        for less in (0.0, 1000.0)
    )
    scores = kinetic_features(mask, [np.full((2, 2, 2), value) for value in (1.0, 2.0, 1.5)], shares=False)
    for features in (offset, scores):
        assert features["signal_enhancement_ratio"] == pytest.approx(plain["signal_enhancement_ratio"])
        assert features["wash_in"] is features["wash_out"] is None
        assert features["enhancement"] == features["kinetic_class"] == ""
        assert list(features) == list(plain)


def test_one_phase_after_contrast_has_no_class():
    mask = np.ones((2, 2, 2), dtype=bool)
    features = kinetic_features(mask, [np.full((2, 2, 2), 100.0), np.full((2, 2, 2), 150.0)])
    assert features["wash_in"] == pytest.approx(0.5)
    assert features["wash_out"] is None
    assert features["kinetic_class"] == ""
