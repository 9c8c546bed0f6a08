"""One MRI phantom: deterministic, its truth where the image shows it, its lesions as the table says."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import MriPhantom, make_mri_phantom

SMALL = (48, 48, 20)
ORIENTATIONS = ["".join(p) for order in permutations(("RL", "AP", "SI")) for p in product(*order)]


def canonical(phantom: MriPhantom, array: np.ndarray) -> np.ndarray:
    return np.asarray(nibabel.as_closest_canonical(nibabel.Nifti1Image(array, phantom.affine)).dataobj)


@pytest.fixture(scope="module")
def phantom() -> MriPhantom:
    return make_mri_phantom(1, 2, shape=(96, 96, 40), phases=4, lesions=3, orientation="LPS")


def test_same_arguments_same_phantom():
    first, second = (make_mri_phantom(4, 7, shape=SMALL) for _ in range(2))
    for a, b in zip(first.phases, second.phases, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.lesions, second.lesions)
    np.testing.assert_array_equal(first.affine, second.affine)
    assert (first.lesion_table, first.clinical, first.settings) == (
        second.lesion_table,
        second.clinical,
        second.settings,
    )


@pytest.mark.parametrize(("seed", "case"), [(4, 8), (5, 7)])
def test_other_seed_or_case_other_phantom(seed, case):
    settings = make_mri_phantom(4, 7, shape=SMALL).settings
    assert make_mri_phantom(seed, case, shape=SMALL).settings["body"] != settings["body"]


def test_types_and_shapes(phantom):
    assert all(p.shape == (96, 96, 40) and p.dtype == np.int16 for p in phantom.phases)
    assert len(phantom.phases) == len(phantom.times_s) == 4
    assert phantom.times_s[0] == 0 and np.all(np.diff(phantom.times_s) > 0)
    for mask in (phantom.breast, phantom.fibroglandular, phantom.lesions):
        assert mask.dtype == np.uint8 and mask.shape == (96, 96, 40)
    assert set(np.unique(phantom.breast)) == {0, 1}


@pytest.mark.parametrize("case", range(6))
def test_truth_lies_within_the_breasts(case):
    phantom = make_mri_phantom(11, case, shape=SMALL)
    assert 0.01 < phantom.breast.mean() < 0.4
    assert not phantom.fibroglandular[phantom.breast == 0].any()
    assert phantom.fibroglandular.any()
    assert not phantom.lesions[phantom.breast == 0].any()
    assert not phantom.fibroglandular[phantom.lesions > 0].any()


@pytest.mark.parametrize("case", range(4))
def test_both_breasts_in_front_and_slices_without_breast(case):
    phantom = make_mri_phantom(12, case, shape=SMALL, spacing=(7.5, 7.5, 13))
    breast = canonical(phantom, phantom.breast)
    scan = canonical(phantom, phantom.phases[1]).astype(float)
    middle = breast.shape[0] // 2
    assert breast[:middle].sum() > 100 and breast[middle:].sum() > 100
    assert (breast.sum(axis=(0, 1)) == 0).any()
    # In front of the breasts there is only air.
    body = scan[breast > 0].mean()
    assert scan[:, -2:, :].mean() < 0.5 * body
    places = np.argwhere(breast)
    assert places[:, 1].mean() > 0.5 * breast.shape[1]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_truth_follows_the_image_in_every_orientation(orientation):
    reference = make_mri_phantom(2, 3, shape=(24, 24, 10), phases=2, lesions=1, orientation="RAS")
    turned = make_mri_phantom(2, 3, shape=(24, 24, 10), phases=2, lesions=1, orientation=orientation)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == orientation
    for name in ("breast", "lesions", "fibroglandular"):
        np.testing.assert_array_equal(canonical(turned, getattr(turned, name)), getattr(reference, name))
    np.testing.assert_array_equal(canonical(turned, turned.phases[1]), reference.phases[1])
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(turned.breast, turned.affine))
    np.testing.assert_allclose(image.affine, reference.affine, atol=1e-6)
    # The phantom is asymmetric, so that a mirrored truth could not pass.
    assert (reference.breast[::-1] != reference.breast).any()


def test_lesion_table_says_where_the_lesions_are(phantom):
    assert len(phantom.lesion_table) == phantom.lesions.max() == 3
    voxel = abs(np.linalg.det(phantom.affine[:3, :3]))
    for row in phantom.lesion_table:
        mask = phantom.lesions == row["number"]
        assert mask[tuple(round(v) for v in row["centre_voxel"])]
        assert row["volume_mm3"] == pytest.approx(mask.sum() * voxel)
        world = phantom.affine @ [*row["centre_voxel"], 1]
        np.testing.assert_allclose(world[:3], row["centre_world"], atol=1e-6)
        assert row["side"] == ("right" if row["centre_world"][0] > 0 else "left")


def test_table_holds_in_any_orientation_and_under_a_lie():
    for orientation in ("RAS", "SAL", "PIR"):
        for lie in (False, True):
            phantom = make_mri_phantom(1, 2, shape=SMALL, lesions=2, orientation=orientation, lie=lie)
            for row in phantom.lesion_table:
                assert phantom.lesions[tuple(round(v) for v in row["centre_voxel"])] == row["number"]


def test_lie_flips_arrays_and_keeps_the_header():
    honest = make_mri_phantom(3, 1, shape=SMALL, orientation="RAS")
    lying = make_mri_phantom(3, 1, shape=SMALL, orientation="RAS", lie=True)
    lied = lying.settings["lied_axes"]
    assert lied and not honest.settings["lied_axes"]
    axes = [("RL", "AP", "SI").index(name) for name in lied]
    np.testing.assert_array_equal(lying.affine, honest.affine)
    for name in ("breast", "lesions"):
        np.testing.assert_array_equal(np.flip(getattr(lying, name), axes), getattr(honest, name))
    np.testing.assert_array_equal(np.flip(lying.phases[1], axes), honest.phases[1])


@pytest.fixture(scope="module")
def measured_curves() -> dict[str, list[tuple[float, float]]]:
    """(First post / pre, last / first post) of the lesions that are large enough to measure, by curve."""
    found = {"persistent": [], "plateau": [], "washout": []}
    for case in range(24):
        phantom = make_mri_phantom(21, case, shape=(72, 72, 28), phases=4, lesions=3)
        for row in phantom.lesion_table:
            inside = phantom.lesions == row["number"]
            if inside.sum() >= 15 and phantom.settings["scan"]["noise"] < 0.1:
                pre, first, *_, last = (float(np.median(p[inside])) for p in phantom.phases)
                found[row["curve"]].append((first / pre, last / first))
    return found


@pytest.mark.parametrize(
    ("curve", "low", "high"), [("persistent", 1.08, 1.5), ("plateau", 0.93, 1.07), ("washout", 0.6, 0.92)]
)
def test_curves_can_be_measured_in_the_phases(measured_curves, curve, low, high):
    found = measured_curves[curve]
    assert found
    assert min(rise for rise, _ in found) > 1.15
    assert low < np.median([change for _, change in found]) < high


def test_non_mass_enhancement_is_uneven_and_its_outline_takes_in_what_is_between():
    """A threshold at half of the brightest finds a ball, and a part of what enhances in clumps."""
    bright = {}
    for shape in ("round", "non_mass"):
        phantom = make_mri_phantom(3, 5, shape=(64, 64, 30), phases=2, lesions=2, shapes=(shape,), orientation="LPS")
        assert {row["shape"] for row in phantom.lesion_table} == {shape}
        pre, post = (phase.astype(float) for phase in phantom.phases)
        inside = phantom.lesions == 1
        gain = (post - pre)[inside]
        bright[shape] = (gain > np.percentile(gain, 95) / 2).mean()
    assert bright["non_mass"] < bright["round"] - 0.15


def test_wanted_shapes_change_nothing_else():
    asked = make_mri_phantom(4, 7, shape=SMALL, shapes=("irregular",))
    usual = make_mri_phantom(4, 7, shape=SMALL)
    assert asked.settings == usual.settings
    np.testing.assert_array_equal(asked.breast, usual.breast)


def test_phantoms_vary():
    many = [make_mri_phantom(6, case, shape=(12, 12, 8), phases=2) for case in range(30)]
    assert {p.settings["scan"]["fat_suppression"] for p in many} == {"complete", "partial", "none"}
    assert len({p.settings["orientation"] for p in many}) > 5
    assert {0, 1, 2} <= {len(p.lesion_table) for p in many}
    assert {row["shape"] for p in many for row in p.lesion_table} == {"round", "lobulated", "irregular", "spiculated"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (2, 64, 64)},
        {"spacing": (1, 1, 0)},
        {"phases": 1},
        {"orientation": "LLS"},
        {"orientation": "xyz"},
        {"shapes": []},
    ],
)
def test_senseless_requests_get_a_sentence(wrong):
    with pytest.raises(BreastkitError, match="give"):
        make_mri_phantom(0, 1, **wrong)
