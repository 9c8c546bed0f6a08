import numpy as np
import pytest
import torch

from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.phantoms.mri import make_mri_phantom, write_mri_phantoms
from breastkit.transforms.load_volume import LoadVolumed, load_volume
from breastkit.transforms.orient_breast import canonical_orientation, reorient

AFFINE = np.array([[-1.5, 0, 0, 10], [0, 2, 0, -7], [0, 0, 3, 1], [0, 0, 0, 1.0]])


def test_loads_images_and_masks_with_their_affine(tmp_path):
    array = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
    write_nifti(tmp_path / "scan.nii.gz", array, AFFINE)
    write_nifti(tmp_path / "mask.nii", (array > 7).astype(np.uint8), AFFINE)
    paths = {"image": tmp_path / "scan.nii.gz", "label": str(tmp_path / "mask.nii"), "case": "1"}
    item = LoadVolumed(("image", "label"))(paths)
    assert item["case"] == "1"
    assert item["image"].shape == (1, 4, 5, 3)
    assert item["image"].dtype == torch.float32
    np.testing.assert_array_equal(item["image"][0].numpy(), array)
    np.testing.assert_array_equal(item["label"][0].numpy(), array > 7)
    np.testing.assert_allclose(item["image"].affine.numpy(), AFFINE)
    np.testing.assert_allclose(item["image"].meta["original_affine"].numpy(), AFFINE)
    assert item["image"].meta["filename_or_obj"] == str(tmp_path / "scan.nii.gz")


def test_slices_stay_whole_pieces_of_memory(tmp_path):
    write_nifti(tmp_path / "scan.nii", np.random.default_rng(0).random((6, 5, 4)).astype(np.float32), AFFINE)
    image = LoadVolumed("image")({"image": tmp_path / "scan.nii"})["image"]
    assert image.as_tensor()[0].permute(2, 1, 0).is_contiguous()


def test_a_dicom_series_folder_is_a_volume_too(tmp_path):
    write_mri_phantoms(str(tmp_path), cases=1, seed=2, size=24, dicom=True, workers=1)
    made = make_mri_phantom(2, 1, shape=(24, 24, 9))
    image = LoadVolumed("image")({"image": tmp_path / "case_001" / "post_1"})["image"]
    orientation = canonical_orientation(image.affine.numpy())
    expected = reorient(torch.from_numpy(made.phases[1].astype(np.float32))[None], canonical_orientation(made.affine))
    # DICOM keeps whole numbers with a slope, so values may be rounded.
    torch.testing.assert_close(reorient(image.as_tensor(), orientation), expected, atol=1.0, rtol=0.01)


def test_missing_keys(tmp_path):
    assert LoadVolumed(("image",), allow_missing_keys=True)({"case": 1}) == {"case": 1}
    with pytest.raises(KeyError):
        LoadVolumed("image")({"case": 1})


def test_bad_files_are_named_in_a_sentence(tmp_path):
    with pytest.raises(BreastkitError, match=r"nothing\.nii"):
        load_volume(tmp_path / "nothing.nii")
    write_nifti(tmp_path / "mask.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    with pytest.raises(BreastkitError, match=r"mask\.nii holds other values"):
        load_volume(tmp_path / "mask.nii", mask=True)
