"""Every way in which a study was seen to be wrong without a word has a doubt, and an honest study has none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from breastkit.dce.phases import DcePhases
from breastkit.dce.plausibility import counts_from_zero, doubts_about
from breastkit.dce.voxel_box import Grid
from breastkit.phantoms.mri import make_mri_phantom

SHAPE = (80, 80, 40)


@pytest.fixture(scope="module")
def honest():
    """A phantom as it was read, and its breasts."""
    phantom = make_mri_phantom(5, 3, shape=SHAPE, phases=3, orientation="LPS")
    grid = Grid.of(SHAPE, phantom.affine)
    arrays = [grid.turn(phase.astype(np.float32)) for phase in phantom.phases]
    paths = tuple(Path(f"x_{number:04d}.nii.gz") for number in range(3))
    return DcePhases(arrays, grid, paths), phantom.breast > 0


def without_slices(study, breast, gone):
    """The same with slices of the axial view left out."""
    arrays = [np.delete(array, gone, axis=0) for array in study.arrays]
    breast = np.delete(breast, gone, axis=2)
    return replace(study, arrays=arrays, grid=Grid.of(breast.shape, study.affine)), breast


def scaled(affine, factor):
    return affine @ np.diag([factor, factor, factor, 1.0])


def tilted(affine, degrees):
    turn = np.eye(4)
    angle = np.radians(degrees)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine


@pytest.mark.parametrize("case", range(1, 9))
def test_an_honest_study_has_none(case):
    phantom = make_mri_phantom(6, case, shape=SHAPE, phases=2)
    grid = Grid.of(SHAPE, phantom.affine)
    study = DcePhases(
        [grid.turn(phase.astype(np.float32)) for phase in phantom.phases], grid, (Path("pre"), Path("post"))
    )
    assert doubts_about(study, phantom.breast > 0) == []


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_patient_turned_by_90_degrees(honest, quarters):
    study, breast = honest
    turned = replace(study, arrays=[np.rot90(array, quarters, axes=(1, 2)) for array in study.arrays])
    lying = study.grid.restore(np.rot90(study.axial(breast), quarters, axes=(1, 2)))
    assert "turned by 90 degrees" in " ".join(doubts_about(turned, lying))


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((1, 0, 2), "falls from x_0000.nii.gz to x_0001.nii.gz, which should be after contrast"),
        ((0, 0, 2), "x_0001.nii.gz is the phase before contrast once more"),
        ((0, 1, 0), "x_0002.nii.gz is the phase before contrast once more"),
    ],
)
def test_phases_in_the_wrong_order_or_twice(honest, order, words):
    study, breast = honest
    study = replace(study, arrays=[study.arrays[number] for number in order])
    assert words in " ".join(doubts_about(study, breast))
    # Where no breast was found all that was scanned is looked at.
    assert words in " ".join(doubts_about(study, np.zeros_like(breast)))


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (lambda affine: np.eye(4), "an identity affine"),
        (lambda affine: scaled(affine, 0.1), "mm is not that of breast MRI|are not those of breast MRI"),
        (lambda affine: scaled(affine, 4), "are not those of breast MRI"),
        (lambda affine: tilted(affine, 44), "tilted by 44 degrees"),
    ],
)
def test_headers_that_cannot_be(honest, affine, words):
    study, breast = honest
    study = replace(study, grid=Grid.of(study.shape, affine(study.affine)))
    assert [doubt for doubt in doubts_about(study, breast) for word in words.split("|") if word in doubt]


def test_breasts_of_no_patient(honest):
    study, breast = honest
    few = breast.copy()
    few[:, :, :-8] = few[20:] = False
    assert few.any()
    assert "ml together are not those of a patient" in " ".join(doubts_about(study, few))
    assert not [doubt for doubt in doubts_about(study, np.zeros_like(breast)) if " ml " in doubt]


@pytest.mark.parametrize(("axis", "edge", "where"), [(1, 0, "in front"), (0, 0, "below"), (0, -1, "above")])
def test_breasts_cut_by_the_edge_of_what_was_scanned(honest, axis, edge, where):
    study, breast = honest
    inside = study.axial(breast)
    sections = np.count_nonzero(inside, axis=tuple(other for other in range(3) if other != axis))
    largest = int(sections.argmax())
    gone = slice(0, largest) if edge == 0 else slice(largest + 1, None)
    arrays = [np.delete(array, gone, axis=axis) for array in study.arrays]
    left = np.delete(inside, gone, axis=axis)
    grid = Grid(left.shape, study.grid.axial.affine)
    assert f"The breasts are cut {where} by" in " ".join(doubts_about(DcePhases(arrays, grid, study.paths), left))


def test_slices_that_show_nothing_or_are_missing(honest):
    study, breast = honest
    black = [array.copy() for array in study.arrays]
    black[1][20:25] = 0
    assert "5 slices of x_0001.nii.gz between others show nothing" in " ".join(
        doubts_about(replace(study, arrays=black), breast)
    )
    # Nothing is missing where nothing was scanned.
    black[1][:] = study.arrays[1]
    black[1][:4] = 0
    assert not [doubt for doubt in doubts_about(replace(study, arrays=black), breast) if "nothing" in doubt]
    assert "Between slices 17 and 18 from the feet" in " ".join(
        doubts_about(*without_slices(study, breast, slice(18, 28)))
    )


@pytest.mark.parametrize(
    ("change", "zero", "words"),
    [
        (lambda array: array - 1000, False, "Intensities below zero"),
        (lambda array: (array - array.mean()) / array.std(), False, "Intensities below zero"),
        (lambda array: array + 3 * np.percentile(array, 99), True, "Air is not dark"),
    ],
)
def test_intensities_that_do_not_count_from_no_signal(honest, change, zero, words):
    study, breast = honest
    assert counts_from_zero(study)
    study = replace(study, arrays=[change(array).astype(np.float32) for array in study.arrays])
    assert counts_from_zero(study) is zero
    assert words in " ".join(doubts_about(study, breast))
