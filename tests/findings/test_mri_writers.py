import csv
from dataclasses import replace

import nibabel
import numpy as np
from tests.findings.made_up import BOXES, GRID, mri_findings

from breastkit.dce.correction import Motion
from breastkit.dce.glands import GlandMeasures
from breastkit.dicom.derived_objects import Side
from breastkit.findings.mri_csv import LesionTable
from breastkit.findings.mri_nifti import MriMasks
from breastkit.findings.mri_png import MriOverlay
from breastkit.findings.mri_study_csv import StudyTable
from breastkit.images import read_gray


def written(writer, folder, findings):
    """Has a writer write, and returns its files by what they show."""
    folder.mkdir(exist_ok=True)
    files = writer(folder).files(findings)
    writer(folder).write(findings, files)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files.values())
    return {kind: folder / name for kind, name in files.items()}


def test_table_tells_boxes_of_the_own_grid(tmp_path):
    found = mri_findings()
    first = replace(found.lesions[0], side=Side.RIGHT, quadrant="upper outer", clock=10)
    found = replace(found, lesions=(first, *found.lesions[1:]))
    table = written(LesionTable, tmp_path, found)["table"].read_text().splitlines()
    assert table[0].startswith(
        "lesion,score,laterality,quadrant,clock,row_min,row_max,col_min,col_max,slice_min,slice_max,volume_mm3,"
    )
    assert table[1:] == [
        "1,0.9,right,upper outer,10,3,7,2,5,1,2,480.0,,0.123,,,,,,,,washout,",
        "2,0.6654,,,,1,2,6,7,4,6,144.0,,0.123,,,,,,,,washout,",
    ]
    assert len(written(LesionTable, tmp_path, mri_findings(lesions=0))["table"].read_text().splitlines()) == 1


def test_masks_lie_on_the_own_grid(tmp_path):
    files = written(MriMasks, tmp_path, mri_findings())
    for path in files.values():
        np.testing.assert_allclose(nibabel.load(path).affine, GRID.affine)
    labels = np.asarray(nibabel.load(files["lesions"]).dataobj)
    for number, (low, high) in enumerate(BOXES, start=1):
        assert np.argwhere(labels == number).min(axis=0).tolist() == list(low)
        assert np.argwhere(labels == number).max(axis=0).tolist() == list(high)
    assert np.count_nonzero(nibabel.load(files["breast"]).dataobj) == 300


def test_breasts_have_the_patients_sides(tmp_path):
    """Slices run from right to left, 3 mm apart from 30 mm on: the first four are right of 20 mm."""
    found = replace(mri_findings(), midline=20.0)
    files = written(MriMasks, tmp_path, found)
    sides, breast = (np.asarray(nibabel.load(files[name]).dataobj) for name in ("sides", "breast"))
    np.testing.assert_array_equal(sides[..., :4], breast[..., :4])
    np.testing.assert_array_equal(sides[..., 4:], 2 * breast[..., 4:])
    assert "fgt" not in files and not mri_findings().sides.any()


def test_a_study_is_one_row_with_its_glands_by_side(tmp_path):
    found = replace(
        mri_findings(),
        glands=mri_findings().breast,
        tissue={Side.RIGHT: GlandMeasures(500.0, 60.0, 0.1235, 0.3), Side.LEFT: GlandMeasures(0.0, 0.0)},
        motions=(Motion(np.eye(4), 1.234), None),
        left_mm=1.0,
    )
    rows = list(csv.DictReader(written(StudyTable, tmp_path / "a", found)["study"].open()))
    assert len(rows) == 1
    told = {name: value for name, value in rows[0].items() if value}
    assert told == {
        "study": "study", "lesions": "2", "phases": "2", "phase_before": "pre", "phase_after": "post",
        "motion_mm": "1.23", "motion_taken_out": "True", "doubts": "1", "right_breast_ml": "500.0",
        "right_fgt_ml": "60.0", "right_fgt_percent": "12.0", "right_density": "b", "right_bpe_mean": "0.1235",
        "right_bpe_quartile": "0.3", "left_breast_ml": "0.0", "left_fgt_ml": "0.0",
    }  # fmt: skip
    assert "fgt" in MriMasks(tmp_path).files(found)


def test_picture_shows_a_tile_a_lesion(tmp_path):
    one, two = (read_gray(written(MriOverlay, tmp_path, mri_findings(lesions=n))["overlay"]) for n in (1, 2))
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] > 1.9 * one.shape[1]
    assert read_gray(written(MriOverlay, tmp_path, mri_findings(lesions=0))["overlay"]).shape == one.shape
