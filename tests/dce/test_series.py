import numpy as np
import pydicom
import pytest
from tests.bundles.tiny import tiny_study

from breastkit.dce.phases import read_phases
from breastkit.dce.series import find_phases
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


def write_files(folder, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        write_nifti(folder / f"{name}.nii.gz", tiny_study(1)[0][0], AFFINE)
    return folder


def test_numbered_files_are_phases(tmp_path):
    found = find_phases(write_files(tmp_path / "x", ["x_0001", "x_0000", "x_0002", "note"]))
    assert [path.name for path in found.all] == ["x_0000.nii.gz", "x_0001.nii.gz", "x_0002.nii.gz"]
    assert [path.name for path, _ in found.skipped] == ["note.nii.gz"]
    assert found.doubts == ()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["x_0000"], "only x_0000.nii.gz"),
        (["x_0001", "x_0002"], "phase before contrast"),
        (["x_0000", "x_0001", "y_0000", "y_0001"], "several studies"),
        (["other"], "no numbered phases"),
    ],
)
def test_files_that_are_no_study(tmp_path, names, sentence):
    with pytest.raises(BreastkitError, match=sentence):
        find_phases(write_files(tmp_path / "x", names))


def test_files_can_be_named(tmp_path):
    folder = write_files(tmp_path / "x", ["before", "after"])
    found = find_phases(folder, pre="before.nii.gz", post="after.nii.gz")
    assert [path.name for path in found.all] == ["before.nii.gz", "after.nii.gz"]
    with pytest.raises(BreastkitError, match=r"late\.nii\.gz does not exist"):
        find_phases(folder, pre="before.nii.gz", post="late.nii.gz")


def test_an_empty_folder_is_no_study(tmp_path):
    with pytest.raises(BreastkitError, match="neither DICOM series nor NIfTI phases"):
        find_phases(tmp_path)


def write_series(folder, *series, patient="p1", uid="u1"):
    """Writes series of (name, description, seconds after the first, slices)."""
    for number, (name, description, start, slices) in enumerate(series, start=1):
        volume = tiny_study(number, size=(20, 16, slices))[0][0].round().astype(np.int16)
        study = MrStudy(patient, uid)
        write_mr_series(folder / name, volume, AFFINE, study, number=number, description=description, start_s=start)
    return folder


def test_series_are_told_apart_by_description_and_time(tmp_path):
    folder = write_series(
        tmp_path / "study",
        ("t2", "ax t2 stir", 0, 8),
        ("b", "ax dyn 2nd pass", 300, 8),
        ("a", "ax dyn 1st pass", 200, 8),
        ("pre", "ax dyn pre", 100, 8),
        ("sub", "subtraction 1", 400, 8),
        ("loc", "localizer", 0, 3),
    )
    (folder / "note.txt").write_text("of no use")
    found = find_phases(folder)
    assert [one.description for one in found.all] == ["ax dyn pre", "ax dyn 1st pass", "ax dyn 2nd pass"]
    assert found.doubts == ()
    assert {"t2", "sub", "loc", "note.txt"} == {path.name for path, _ in found.skipped}
    phases = read_phases(found.all)
    assert len(phases.arrays) == 3
    assert phases.shape == (20, 16, 8)


def test_a_choice_that_may_be_wrong_is_said(tmp_path):
    folder = write_series(tmp_path / "study", ("x", "dyn b", 200, 8), ("y", "dyn a", 100, 8))
    found = find_phases(folder)
    assert found.pre.description == "dyn a"
    assert "because it is the earliest; no description says which it is" in found.doubts[0]
    chosen = find_phases(folder, pre="dyn b", post="y")
    assert [one.description for one in chosen.all] == ["dyn b", "dyn a"]
    assert chosen.doubts == ()


def test_series_that_nothing_tells_apart_are_refused(tmp_path):
    for name in "ab":
        write_series(tmp_path, (name, "dyn", 60.0, 8))
    for path in (tmp_path / "b").iterdir():
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID = f"{image.SeriesInstanceUID[:-2]}.1"
        image.save_as(path)
    with pytest.raises(BreastkitError, match=r"in a and b, which nothing tells apart; name them with --pre and --post"):
        find_phases(tmp_path)
    found = find_phases(tmp_path, pre="a", post="b")
    assert [one.files[0].parent.name for one in found.all] == ["a", "b"]


def test_a_phase_before_contrast_that_came_late_is_doubtful(tmp_path):
    found = find_phases(write_series(tmp_path / "study", ("x", "dyn pre", 200, 8), ("y", "dyn post", 100, 8)))
    assert found.pre.description == "dyn pre"
    assert "was taken before" in found.doubts[0]


def test_a_study_with_one_phase_or_two_patients_is_refused(tmp_path):
    one = write_series(tmp_path / "one", ("pre", "dyn pre", 0, 8))
    with pytest.raises(BreastkitError, match="holds only 'dyn pre' of 8 images"):
        find_phases(one)
    short = write_series(tmp_path / "short", ("pre", "dyn pre", 0, 8), ("post", "dyn post", 100, 7))
    with pytest.raises(BreastkitError, match=r"only 'dyn pre' of 8 images \(beside it 'dyn post' of 7 images\)"):
        find_phases(short)
    two = write_series(tmp_path / "two", ("pre", "dyn pre", 0, 8))
    write_series(two / "other", ("post", "dyn post", 100, 8), patient="p2", uid="u2")
    with pytest.raises(BreastkitError, match="2 patients"):
        find_phases(two)
    with pytest.raises(BreastkitError, match="no series called 9; give the number of one of: 1: 'dyn pre'"):
        find_phases(one, pre="9", post="1")
