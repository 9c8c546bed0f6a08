"""Folders of MRI phantoms: the layouts other parts read, and DICOM that says the same as NIfTI."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest

from breastkit.dicom import list_series, read_series
from breastkit.errors import BreastkitError
from breastkit.images import read_volume
from breastkit.phantoms.mri import make_mri_phantom, write_mri_phantoms

SIZE = 24
SHAPE = (24, 24, 9)


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    root = tmp_path_factory.mktemp("Phantome (ä)") / "tissue"
    summary = write_mri_phantoms(str(root), cases=4, seed=3, size=SIZE, workers=1)
    return root, summary


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_tissue_layout(tissue):
    root, summary = tissue
    training, further = [f"case_00{n}.nii.gz" for n in range(1, 5)], ["case_005.nii.gz"]
    assert names(root / "train" / "scans") == names(root / "train" / "masks") == training
    assert names(root / "inference" / "scans") == names(root / "inference" / "masks") == further
    assert summary["cases"] == 5
    phantom = make_mri_phantom(3, 2, shape=SHAPE)
    scan = read_volume(root / "train" / "scans" / "case_002.nii.gz")
    mask = read_volume(root / "train" / "masks" / "case_002.nii.gz", mask=True)
    np.testing.assert_array_equal(scan.array, phantom.phases[1])
    np.testing.assert_array_equal(mask.array, phantom.breast)
    np.testing.assert_allclose(scan.affine, phantom.affine, atol=1e-4)
    np.testing.assert_allclose(mask.affine, scan.affine)


def test_clinical_table_matches_the_scans(tissue):
    root, _ = tissue
    table = pd.read_csv(root / "clinical.csv")
    assert list(table.columns) == ["patient_id", "age", "er", "pr", "her2", "subtype", "grade"]
    assert table.patient_id.tolist() == [1, 2, 3, 4, 5]


def test_one_case_still_gives_one_to_infer(tmp_path):
    write_mri_phantoms(str(tmp_path / "one"), cases=1, size=12, workers=1)
    assert names(tmp_path / "one" / "inference" / "scans") == ["case_002.nii.gz"]


def test_same_seed_same_files(tissue, tmp_path):
    root, _ = tissue
    write_mri_phantoms(str(tmp_path / "again"), cases=4, seed=3, size=SIZE, workers=2)
    for path in root.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(root)).read_bytes()


def test_a_set_is_replaced_and_foreign_files_stay(tmp_path):
    write_mri_phantoms(str(tmp_path), cases=3, seed=1, size=12, workers=1)
    (tmp_path / "notes.txt").write_text("mine")
    write_mri_phantoms(str(tmp_path), cases=1, seed=2, layout="mamamia", size=12, workers=1)
    assert names(tmp_path) == [
        "clinical_and_imaging_info.xlsx",
        "images",
        "notes.txt",
        "phantoms.json",
        "segmentations",
        "train_test_splits.csv",
        "truth",
    ]


def test_a_real_set_is_never_overwritten(tmp_path):
    (tmp_path / "train" / "scans").mkdir(parents=True)
    with pytest.raises(BreastkitError, match="not of phantoms"):
        write_mri_phantoms(str(tmp_path), cases=1, size=12, workers=1)
    assert names(tmp_path) == ["train"]


def test_mamamia_layout(tmp_path):
    write_mri_phantoms(str(tmp_path), cases=5, seed=3, layout="mamamia", size=SIZE, workers=1)
    phantom = make_mri_phantom(3, 1, shape=SHAPE)
    images = tmp_path / "images" / "DUKE_001"
    assert names(images) == [f"duke_001_{n:04d}.nii.gz" for n in range(len(phantom.phases))]
    for n, volume in enumerate(phantom.phases):
        np.testing.assert_array_equal(read_volume(images / f"duke_001_{n:04d}.nii.gz").array, volume)
    lesions = nibabel.load(tmp_path / "segmentations" / "expert" / "duke_001.nii.gz")
    np.testing.assert_array_equal(np.asarray(lesions.dataobj), phantom.lesions > 0)
    table = pd.read_excel(tmp_path / "clinical_and_imaging_info.xlsx")
    assert table.patient_id.tolist() == [f"DUKE_00{n}" for n in range(1, 6)]
    assert json.loads(table.acquisition_times[0])[0] == 0
    split = pd.read_csv(tmp_path / "train_test_splits.csv")
    train, test = split.train_split.dropna().tolist(), split.test_split.dropna().tolist()
    assert sorted(train + test) == table.patient_id.tolist() and train and test


def test_dicom_says_what_nifti_says(tmp_path):
    write_mri_phantoms(str(tmp_path), cases=2, seed=3, dicom=True, size=SIZE, workers=1)
    for case in (1, 2):
        phantom = make_mri_phantom(3, case, shape=SHAPE)
        study = tmp_path / f"case_{case:03d}"
        series = list_series(study)
        assert [s.description for s in series][:2] == ["ax dyn pre", "ax dyn post 1"]
        assert len({s.study for s in series}) == 1 and len({s.uid for s in series}) == len(phantom.phases)
        assert [s.time for s in series] == sorted(s.time for s in series)
        for n, volume in enumerate(phantom.phases):
            read = read_series(study / ("pre" if n == 0 else f"post_{n}"))
            np.testing.assert_array_equal(read.array, volume)
            np.testing.assert_allclose(read.affine, phantom.affine, atol=1e-4)
        truth = read_volume(tmp_path / "truth" / "breast" / f"case_{case:03d}.nii.gz")
        np.testing.assert_array_equal(truth.array, phantom.breast)


def test_lying_headers_are_written_down(tmp_path):
    write_mri_phantoms(str(tmp_path), cases=3, seed=1, lying_headers=True, size=12, workers=1)
    rows = json.loads((tmp_path / "phantoms.json").read_text())
    assert [bool(row["settings"]["lied_axes"]) for row in rows] == [True, True, False, True]


@pytest.mark.parametrize("wrong", [{"layout": "duke"}, {"cases": 0}, {"cases": "six"}, {"size": 4}, {"shapes": "star"}])
def test_senseless_requests_get_a_sentence(wrong, tmp_path):
    with pytest.raises(BreastkitError):
        write_mri_phantoms(str(tmp_path / "out"), **wrong)
    assert not (tmp_path / "out").exists()
