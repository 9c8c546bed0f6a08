"""Motion and shading, planted and taken out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from breastkit.cases import read_cases
from breastkit.datasets.duke import prepare_duke
from breastkit.dce.correction import (
    MOVED_MM,
    Motion,
    correct_phases,
    motion_between,
    motions_of,
    moved_back,
    shading_of,
    without_motion,
)
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


def turned(degrees, shift_mm):
    """A turn about the axis of the body through the middle, and a shift."""
    angle, matrix = np.radians(degrees), np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    middle = np.array(SHAPE) * SPACING / 2
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + shift_mm
    return Motion(matrix, 10.0)


def displaced(motion, inside):
    return motion.of(np.argwhere(inside) * np.array(SPACING))


def test_a_shift_is_taken_out(body):
    before, after, inside = body
    moved = ndimage.shift(before, (1.0, -2.0, 1.5), order=1, mode="nearest")
    motion = motion_between(after, moved, inside, SPACING)
    np.testing.assert_allclose(displaced(motion, inside).mean(axis=0), (4.0, -6.0, 4.5), atol=0.7)
    assert motion.degrees < 1
    assert motion.mean_mm == pytest.approx(np.linalg.norm((4.0, -6.0, 4.5)), abs=0.7)
    back = moved_back(moved, motion, SPACING)
    inner = (slice(3, -3),) * 3
    assert np.abs(back - before)[inner].mean() < 0.6 * np.abs(moved - before)[inner].mean()


def test_a_turn_is_taken_out(body):
    before, after, inside = body
    planted = turned(4.0, (1.0, 2.0, -3.0))
    # Where the patient was goes to where the matrix says, so the image is looked up the other way round.
    moved = moved_back(before, replace(planted, matrix=np.linalg.inv(planted.matrix)), SPACING)
    motion = motion_between(after, moved, inside, SPACING)
    assert np.abs(displaced(motion, inside) - displaced(planted, inside)).mean() < 0.5
    assert motion.degrees == pytest.approx(4.0, abs=0.7)


def test_any_rigid_motion_is_looked_up_where_it_says():
    """Within slices and then between them is the same as in three dimensions at once."""
    axes = np.meshgrid(*(np.arange(n) * step for n, step in zip(SHAPE, SPACING, strict=True)), indexing="ij")
    smooth = sum(np.sin(axis / length) for axis, length in zip(axes, (21.0, 17.0, 26.0), strict=True))
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([Rotation.from_euler("zyx", (6, -5, 8), degrees=True).as_matrix(), (3, -5, 7)])
    steps = np.diag([*SPACING, 1.0])
    voxels = np.linalg.inv(steps) @ matrix @ steps
    at_once = ndimage.affine_transform(smooth, voxels, order=3, mode="nearest")
    found = moved_back(smooth.astype(np.float32), Motion(matrix, 9.0), SPACING)
    inner = (slice(6, -6), slice(8, -8), slice(8, -8))
    assert np.abs(found - at_once)[inner].max() < 0.05


def test_what_lies_still_stays_as_it_is(body):
    before, after, inside = body
    motion = motion_between(after, before, inside, SPACING)
    assert motion.mean_mm < 0.3
    assert moved_back(before, replace(motion, mean_mm=0.01), SPACING) is before


def test_motion_that_nobody_can_tell(body):
    before, after, inside = body
    assert motion_between(after, before, np.zeros_like(inside), SPACING) is None


def test_phases_are_moved_onto_the_first_after_contrast(body):
    before, after, inside = body
    moved = ndimage.shift(before, (0, 0, 1.5), order=1, mode="nearest")
    phases = DcePhases([moved, after, after], Grid(SHAPE[::-1], np.diag([*SPACING[::-1], 1.0])), ())
    breast = phases.restore(inside)
    motions = motions_of(phases, breast)
    assert motions[1].mean_mm == 0
    assert [motion.mean_mm > MOVED_MM for motion in motions] == [True, False, False]
    still = without_motion(phases, motions)
    assert still.arrays[1] is after and still.arrays[2] is after
    assert motions_of(still, breast)[0].mean_mm < 0.7
    assert without_motion(phases, motions, above=np.inf).arrays[0] is moved
    # Where no breast was outlined the body is looked at.
    assert motions_of(phases, np.zeros_like(breast))[0].mean_mm == pytest.approx(4.5, abs=0.7)


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
