import nibabel
import numpy as np
from tests.findings.made_up import BOXES, GRID, mri_findings

from breastkit.findings.mri_csv import LesionTable
from breastkit.findings.mri_nifti import MriMasks
from breastkit.findings.mri_png import MriOverlay
from breastkit.images import read_gray


def written(writer, folder, findings):
    """Has a writer write, and returns its files by what they show."""
    files = writer(folder).files(findings)
    writer(folder).write(findings, files)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files.values())
    return {kind: folder / name for kind, name in files.items()}


def test_table_tells_boxes_of_the_own_grid(tmp_path):
    table = written(LesionTable, tmp_path, mri_findings())["table"].read_text().splitlines()
    assert table[0].startswith("lesion,score,row_min,row_max,col_min,col_max,slice_min,slice_max,volume_mm3,")
    assert table[1:] == [
        "1,0.9,3,7,2,5,1,2,480.0,,0.123,,,,,,,washout,",
        "2,0.6654,1,2,6,7,4,6,144.0,,0.123,,,,,,,washout,",
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


def test_picture_shows_a_tile_a_lesion(tmp_path):
    one, two = (read_gray(written(MriOverlay, tmp_path, mri_findings(lesions=n))["overlay"]) for n in (1, 2))
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] > 1.9 * one.shape[1]
    assert read_gray(written(MriOverlay, tmp_path, mri_findings(lesions=0))["overlay"]).shape == one.shape
