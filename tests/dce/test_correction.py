"""Motion and shading, planted and taken out."""

import numpy as np
import pytest
from scipy import ndimage

from breastkit.cases import read_cases
from breastkit.datasets.duke import prepare_duke
from breastkit.dce.correction import correct_phases, registered, shading_of
from breastkit.dce.phases import DcePhases, read_phases
from breastkit.dce.voxel_box import Grid
from breastkit.phantoms.mri import write_mri_phantoms

SPACING = (4.0, 3.0, 3.0)
SHAPE = (24, 48, 48)


@pytest.fixture(scope="module")
def body():
    """A body of smooth texture in air, and the same after contrast."""
    random = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = axes[0] ** 2 / 0.8 + (axes[1] / 0.7) ** 2 + (axes[2] / 0.8) ** 2 < 1
    texture = ndimage.gaussian_filter(random.normal(0, 1, SHAPE), 2)
    before = inside * (100 + 120 * texture) + random.normal(0, 1, SHAPE)
    lesion = (axes[0] ** 2 + (axes[1] - 0.2) ** 2 + (axes[2] - 0.3) ** 2) < 0.02
    return before.astype(np.float32), (before * 1.1 + 150 * lesion).astype(np.float32), inside


def test_a_shift_is_taken_out(body):
    before, after, _ = body
    moved = ndimage.shift(after, (1.0, -2.0, 1.5), order=1, mode="nearest")
    found, motion = registered(before, moved, SPACING)
    np.testing.assert_allclose(motion.translation_mm, (4.5, -6.0, 4.0), atol=0.7)
    assert np.abs(motion.rotation_degrees).max() < 1
    inner = (slice(3, -3),) * 3
    assert np.abs(found - after)[inner].mean() < 0.6 * np.abs(moved - after)[inner].mean()


def test_what_lies_still_stays_as_it_is(body):
    before, after, _ = body
    found, motion = registered(before, after, SPACING)
    assert np.abs(motion.translation_mm).max() < 0.5
    assert np.abs(found - after).mean() < 0.5


def test_shading_is_taken_out(body):
    before, _, inside = body
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    field = np.exp(0.5 * axes[2] - 0.4 * axes[1])
    found = shading_of((before * field).astype(np.float32), SPACING)
    assert found.shape == SHAPE
    left = np.log(found[inside]) - np.log(field[inside])
    assert left.std() < 0.75 * np.log(field[inside]).std()


def test_phases_are_corrected_alike(body):
    before, after, _ = body
    phases = DcePhases([before, after], Grid(SHAPE, np.eye(4)), ())
    assert all(a is b for a, b in zip(correct_phases(phases).arrays, phases.arrays, strict=True))
    corrected = correct_phases(phases, shading=True)
    inside = (before > 50) & (after > 50)
    # One field for all phases, so that their ratio, the enhancement, stays.
    np.testing.assert_allclose((corrected.arrays[1] / corrected.arrays[0])[inside], (after / before)[inside], rtol=1e-4)


def test_prepared_patients_keep_the_corrected_phases(tmp_path):
    write_mri_phantoms(str(tmp_path / "set"), cases=3, seed=3, layout="mamamia", size=40, workers=1)
    prepare_duke(tmp_path / "set", tmp_path / "out", image_size=64, shading=True, workers=1)
    cases = read_cases(tmp_path / "out")
    for name, scan in cases.facts["scans"].items():
        assert all(f"/corrected/{name}/" in path for path in scan["phases"])
        own = read_phases(sorted((tmp_path / "set" / "images" / name).iterdir())[:2])
        kept = read_phases(scan["phases"])
        np.testing.assert_allclose(kept.affine, own.affine, atol=1e-4)
        assert not np.allclose(kept.arrays[0], own.arrays[0])
