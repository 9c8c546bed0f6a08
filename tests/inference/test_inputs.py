"""One file, one series folder or a folder of these; everything else is named."""

from pathlib import Path

import numpy as np
import pytest

from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.inference import find_inputs


def scan(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_nifti(path, np.random.default_rng(0).random((6, 5, 4)), np.eye(4))


def series(folder, patient="Breast_MRI_0042"):
    study = MrStudy(patient_id=patient, uid_source=str(folder))
    volume = np.random.default_rng(0).integers(0, 99, (6, 5, 4)).astype(np.int16)
    return write_mr_series(folder, volume, np.diag([-1.0, -1, 1, 1]), study, number=1, description="dyn")


def names(inputs):
    return [item["name"] for item in inputs.items]


def test_a_file_is_one_input(tmp_path):
    path = scan(tmp_path / "Patient 007 (ä).nii.gz")
    inputs = find_inputs(path)
    assert inputs.items == [{"image": str(path.resolve()), "name": "Patient 007 (ä)", "patient_id": "7"}]


def test_a_series_folder_is_one_input_and_its_patient_is_in_the_header(tmp_path):
    inputs = find_inputs(series(tmp_path / "pre"))
    assert inputs.items == [{"image": str((tmp_path / "pre").resolve()), "name": "pre", "patient_id": "42"}]


def test_a_folder_is_looked_at_one_level_deep(tmp_path):
    for name in ("b.nii", "a_1.nii.gz", "a_1_mask.nii.gz", "a_1_breast.nii.gz", "deeper/c.nii.gz"):
        scan(tmp_path / name)
    series(tmp_path / "pre")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.nii.gz").write_text("")
    inputs = find_inputs(tmp_path, outputs=("_breast",))
    assert names(inputs) == ["a_1", "b", "pre"]
    assert {path.name: reason for path, reason in inputs.skipped} == {
        "a_1_mask.nii.gz": "a mask, by its name",
        "a_1_breast.nii.gz": "an output of an earlier run, by its name",
        "deeper": "a folder without DICOM files",
        "notes.txt": "not an image",
    }


def test_a_scan_named_like_an_output_is_a_scan_where_there_is_no_other(tmp_path):
    scan(tmp_path / "left_breast.nii.gz")
    assert names(find_inputs(tmp_path, outputs=("_breast",))) == ["left_breast"]


def test_pictures_can_be_asked_for(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    scan(tmp_path / "b.nii.gz")
    inputs = find_inputs(tmp_path, suffixes=(".png",))
    assert names(inputs) == ["a"]


def test_folders_are_no_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    series(tmp_path / "pre")
    inputs = find_inputs(tmp_path, suffixes=(".png",), series=False)
    assert names(inputs) == ["a"]
    assert inputs.skipped == [(tmp_path / "pre", "a folder")]
    with pytest.raises(BreastkitError, match=r"holds nothing to run on .* a folder with pictures directly in it"):
        find_inputs(tmp_path / "pre", suffixes=(".png",), series=False)


def test_ultrasound_objects_are_inputs_and_other_objects_are_named(tmp_path):
    for name in ("clip.dcm", "IM_0001"):
        write_us_dicom(tmp_path / name, np.zeros((4, 5), np.uint8), spacing=1, patient="P", uid_seed="0")
    next(series(tmp_path / "mr").iterdir()).rename(tmp_path / "slice.dcm")
    for name in ("a.png", "cut.dcm", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    inputs = find_inputs(tmp_path, suffixes=(".png",), series=False, ultrasound=True)
    assert names(inputs) == ["IM_0001", "a", "clip", "cut"]
    assert {path.name: reason for path, reason in inputs.skipped} == {
        "mr": "a folder",
        "notes.txt": "not an image",
        "slice.dcm": "MR Image Storage, not an ultrasound image",
    }
    assert names(find_inputs(tmp_path / "IM_0001", suffixes=(".png",), series=False, ultrasound=True)) == ["IM_0001"]
    with pytest.raises(BreastkitError, match=r"notes\.txt is no image .* \(\.png, ultrasound DICOM\)"):
        find_inputs(tmp_path / "notes.txt", suffixes=(".png",), series=False, ultrasound=True)


def test_two_inputs_of_one_name_are_refused(tmp_path):
    for name in ("x.nii", "x.nii.gz"):
        scan(tmp_path / name)
    with pytest.raises(BreastkitError, match=r"x\.nii and x\.nii\.gz .* outputs of the same name"):
        find_inputs(tmp_path)


def test_links_keep_the_names_they_have_in_the_folder(tmp_path):
    """Stores such as DataLad's link to files of one name; outputs of two patients must not overwrite each other."""
    (tmp_path / "scans").mkdir()
    for patient in ("p1", "p2"):
        (tmp_path / "scans" / f"{patient}.nii.gz").symlink_to(scan(tmp_path / "store" / patient / "scan.nii.gz"))
    inputs = find_inputs(tmp_path / "scans")
    assert [(item["name"], item["patient_id"]) for item in inputs.items] == [("p1", "1"), ("p2", "2")]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "holds nothing to run on"),
        (lambda folder: (folder / "a.txt").write_text(""), r"holds nothing to run on \(a.txt: not an image\)"),
        (lambda folder: folder.rmdir(), "does not exist"),
    ],
)
def test_nothing_to_run_on_is_said(tmp_path, make, words):
    folder = tmp_path / "scans"
    folder.mkdir()
    make(folder)
    with pytest.raises(BreastkitError, match=words):
        find_inputs(folder)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = Path(tmp_path / "a.txt")
    path.write_text("")
    with pytest.raises(BreastkitError, match="no image of a kind"):
        find_inputs(path)
