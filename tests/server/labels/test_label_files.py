"""Label maps from viewers, on the grid of their image or refused."""

import nrrd
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from PIL import Image

from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.server.labels.label_files import read_labels, write_labels
from breastkit.server.studies.study_images import PICTURE_AFFINE, Grid

SHAPE = (12, 9, 7)
AFFINE = np.array([[-1.5, 0, 0, 20], [0, -2, 0, 30], [0, 0, 3, -10], [0, 0, 0, 1.0]])
GRID = Grid(SHAPE, AFFINE)


def labels():
    """Two labels without any symmetry."""
    found = np.zeros(SHAPE, np.uint8)
    found[2:5, 1:3, 4] = 1
    found[2, 3:6, 4:6] = 2
    return found


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii"])
@pytest.mark.parametrize("compress", [True, False])
def test_what_is_written_is_read_back(tmp_path, suffix, compress):
    path = write_labels(tmp_path / f"a{suffix}", labels(), AFFINE, compress=compress)
    np.testing.assert_array_equal(read_labels(path, GRID, name="a"), labels())


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SPL", "AIR"])
def test_other_orders_of_the_axes_are_brought_back(tmp_path, axes):
    import nibabel

    image = nibabel.Nifti1Image(labels(), AFFINE)
    turned = image.as_reoriented(ornt_transform(io_orientation(AFFINE), axcodes2ornt(axes)))
    path = write_nifti(tmp_path / "a.nii.gz", np.asarray(turned.dataobj), turned.affine)
    np.testing.assert_array_equal(read_labels(path, GRID, name="a"), labels())


def test_a_cropped_label_lands_where_it_was_drawn(tmp_path):
    """As segmentations do that hold the slices with something in them only."""
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [0, 0, 4, 1])[:3]
    path = write_labels(tmp_path / "a.nrrd", labels()[:, :, 4:6], affine)
    np.testing.assert_array_equal(read_labels(path, GRID, name="a"), labels())


def test_a_finer_grid_is_resampled_by_the_nearest_voxel(tmp_path):
    fine = np.kron(labels(), np.ones((2, 2, 2), np.uint8))
    affine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] = (AFFINE @ [-0.25, -0.25, -0.25, 1])[:3]
    path = write_labels(tmp_path / "a.nrrd", fine, affine)
    np.testing.assert_array_equal(read_labels(path, GRID, name="a"), labels())


def test_a_label_elsewhere_is_refused(tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 500
    with pytest.raises(BreastkitError, match="belongs to another image"):
        read_labels(write_labels(tmp_path / "a.nrrd", labels(), moved), GRID, name="a")
    moved = AFFINE.copy()
    moved[0, 3] += 5
    with pytest.raises(BreastkitError, match="reaches out of 'a'"):
        read_labels(write_labels(tmp_path / "a.nrrd", labels(), moved), GRID, name="a")


def test_a_label_of_a_picture(tmp_path):
    grid = Grid((30, 20, 1), PICTURE_AFFINE)
    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 20:29] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", grid, name="a")[:, :, 0].T, mask // 255)
    # As 3D Slicer saves it, which holds pictures as volumes of one slice.
    path = write_labels(tmp_path / "a.nrrd", (mask // 255).T[:, :, None], PICTURE_AFFINE)
    np.testing.assert_array_equal(read_labels(path, grid, name="a")[:, :, 0].T, mask // 255)
    Image.fromarray(mask.T).save(tmp_path / "b.png")
    with pytest.raises(BreastkitError, match="20x30 pixels, 'b' 30x20"):
        read_labels(tmp_path / "b.png", grid, name="b")


def test_what_is_no_label_map_is_refused(tmp_path):
    cases = {
        "fractions": (labels() * 0.5).astype(np.float32),
        "beyond 0 to 255": labels().astype(np.int16) * 500,
        "beyond": labels().astype(np.int16) * -1,
        "fraction": np.full(SHAPE, np.nan, np.float32),
    }
    for sentence, array in cases.items():
        path = write_nifti(tmp_path / "a.nii.gz", array, AFFINE)
        with pytest.raises(BreastkitError, match=sentence):
            read_labels(path, GRID, name="a")
    with pytest.raises(BreastkitError, match="send one of these"):
        read_labels(tmp_path / "a.txt", GRID, name="a")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii", ".png"])
@pytest.mark.parametrize("content", [b"", b"<html>an error page</html>", b"NRRD0004\n", b"\x1f\x8b\x08\x00"])
def test_damaged_files_are_refused_with_a_sentence(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(BreastkitError):
        read_labels(path, GRID, name="a")


def test_a_header_never_reads_another_file(tmp_path):
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(12 * 9 * 7))
    header = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": np.zeros(3)}
    nrrd.write(str(tmp_path / "a.nhdr"), labels(), header, detached_header=True)
    path = tmp_path / "a.nrrd"
    path.write_bytes((tmp_path / "a.nhdr").read_bytes().replace(b"a.raw.gz", str(secret).encode()))
    with pytest.raises(BreastkitError, match="in another file"):
        read_labels(path, GRID, name="a")
