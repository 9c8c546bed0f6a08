import json

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from tests.bundles.tiny import AFFINE, tiny_study

from breastkit.dce.phases import read_phases
from breastkit.dce.voxel_box import VoxelBox
from breastkit.detection import Detection
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti
from breastkit.inference import FindRegionsd, LoadStudyd, find_studies
from breastkit.inference.mri_study import boxes_file, boxes_on_squares
from breastkit.transforms import CropToBoxesd


def turned(array, codes):
    start, end = nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(codes)
    image = nibabel.Nifti1Image(array, AFFINE).as_reoriented(nibabel.orientations.ornt_transform(start, end))
    return np.asarray(image.dataobj), image.affine


@pytest.fixture(params=["LAS", "RPS", "SAL", "PIR"])
def study(request, tmp_path):
    """A study stored in some orientation: its files and its mask."""
    phases, mask = tiny_study(3)
    files = []
    for number, phase in enumerate(phases):
        files.append(str(write_nifti(tmp_path / f"x_{number:04d}.nii.gz", *turned(phase, request.param))))
    label = write_nifti(tmp_path / "mask.nii.gz", *turned(mask, request.param))
    return files, str(label), turned(mask, request.param)[0] > 0


def prepared_and_back(study, **options):
    files, label, mask = study
    steps = Compose(
        [
            LoadStudyd("image", image_size=64),
            FindRegionsd(**options),
            CropToBoxesd("image", image_size=64),
        ]
    )
    data = steps({"image": files, "label": label, "name": "x"})
    # The subtraction is bright in the lesion alone.
    answer = MetaTensor((data["image"][2:] > 0.5).float())
    answer.applied_operations = list(data["image"].applied_operations)
    return data, np.asarray(steps.inverse({**data, "image": answer})["image"][0]) > 0.5, mask


def overlap(first, second):
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def test_masks_come_back_onto_the_study_from_true_boxes(study):
    data, found, mask = prepared_and_back(study, boxes="true")
    assert found.shape == mask.shape
    assert overlap(found, mask) > 0.9
    assert np.array_equal(np.asarray(data["label"][0]) > 0, mask)
    assert "study" not in data


def test_masks_come_back_onto_the_study_from_whole_slices(study):
    data, found, mask = prepared_and_back(study, detection=False)
    assert data["regions"].tolist() == [[number, 0, 0, 64] for number in range(10)]
    assert overlap(found, mask) > 0.9


def test_masks_come_back_onto_the_study_from_boxes_of_a_file(study, tmp_path):
    mask = study[2]
    edges = [(int(inside.min()), int(inside.max())) for inside in np.nonzero(mask)]
    bounds = {f"{axis}_{end}": edges[n][e] for n, axis in enumerate(("col", "row", "slice"))
              for e, end in enumerate(("min", "max"))}  # fmt: skip
    content = {"file": "x", "shape": list(mask.shape), "lesions": [{"score": 0.5, **bounds, "boxes": []}]}
    (tmp_path / "x_boxes.json").write_text(json.dumps(content))
    data, found, _ = prepared_and_back(study, boxes=str(tmp_path))
    assert overlap(found, mask) > 0.9
    assert len(data["regions"]) == np.count_nonzero(read_phases(study[0]).axial(mask).any(axis=(1, 2)))


def test_boxes_lie_on_the_squares(study):
    phases = read_phases(study[0])
    lesion = Detection(1.0, VoxelBox((2, 9, 10), (3, 17, 19), phases.grid.axial).on(phases.grid))
    # 40 by 36 pixels in a square of 80 are twice as large, with 4 pixels above.
    assert boxes_on_squares([lesion], phases, 80) == [(2, [20, 22, 40, 40]), (3, [20, 22, 40, 40])]


def test_boxes_of_a_folder_are_found_by_name_in_either_case(tmp_path):
    assert boxes_file(tmp_path / "one_boxes.json", "DUKE_001") == tmp_path / "one_boxes.json"
    assert boxes_file(tmp_path, "DUKE_001") == tmp_path / "DUKE_001_boxes.json"
    (tmp_path / "duke_001_boxes.json").touch()
    (tmp_path / "duke_002_boxes.json").touch()
    assert boxes_file(tmp_path, "DUKE_001") == tmp_path / "duke_001_boxes.json"


def test_a_mask_of_another_study_is_refused(study, tmp_path):
    other = write_nifti(tmp_path / "other.nii.gz", np.ones((3, 4, 5), np.uint8), AFFINE)
    with pytest.raises(BreastkitError, match="give the mask drawn on it"):
        LoadStudyd("image", image_size=64)({"image": study[0], "label": str(other)})


def test_studies_are_found_one_level_deep(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number, phase in enumerate(tiny_study(1)[0]):
            write_nifti(tmp_path / name / f"{name}_{number:04d}.nii.gz", phase, AFFINE)
    (tmp_path / "empty").mkdir()
    found = find_studies(tmp_path)
    assert [item["name"] for item in found.items] == ["a", "b"]
    assert [path.name for path, _ in found.skipped] == ["empty"]
    assert [item["name"] for item in find_studies(tmp_path / "b").items] == ["b"]
    with pytest.raises(BreastkitError, match="holds no study"):
        find_studies(tmp_path / "empty")
    (tmp_path / "b" / "b_0001.nii.gz").unlink()
    with pytest.raises(BreastkitError, match="the first one after it are needed"):
        find_studies(tmp_path)


def test_regions_of_a_study_without_lesion_are_none(study):
    files, _, mask = study
    data = LoadStudyd("image", image_size=64)({"image": files, "name": "x"})
    data["label"] = torch.zeros(1, *mask.shape)
    assert FindRegionsd(boxes="true")(data)["regions"].shape == (0, 4)


def test_the_detector_that_ships_is_run_where_that_is_asked_for(tmp_path):
    phases, _ = tiny_study(3)
    files = [
        str(write_nifti(tmp_path / f"x_{number:04d}.nii.gz", phase, AFFINE)) for number, phase in enumerate(phases)
    ]
    found = []
    for boxes in ("detect", None):
        data = LoadStudyd("image", image_size=64)({"image": files, "name": "x"})
        found.append(FindRegionsd(boxes=boxes)(data)["regions"])
    np.testing.assert_array_equal(*found)
    # Whatever it finds here: slice, top, left and side.
    assert found[0].shape[1] == 4
