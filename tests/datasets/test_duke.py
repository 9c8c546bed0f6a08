"""MAMA-MIA's layout to slices: what is written, what is kept, and that a second run changes nothing."""

import csv
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from breastkit.cases import find_problems, read_cases
from breastkit.datasets.duke import prepare_duke, read_annotation_boxes
from breastkit.dce.phases import read_phases
from breastkit.dce.voxel_box import Grid
from breastkit.errors import BreastkitError
from breastkit.images import read_volume
from breastkit.phantoms.mri import write_mri_phantoms

CASES = 6


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    root = tmp_path_factory.mktemp("delivered") / "mama mia"
    write_mri_phantoms(str(root), cases=CASES, seed=3, layout="mamamia", size=40, workers=1)
    return root


@pytest.fixture(scope="module")
def prepared(delivered, tmp_path_factory):
    out = tmp_path_factory.mktemp("work") / "duke"
    prepare_duke(delivered, out, image_size=64, workers=1)
    return out


def test_case_list(prepared):
    cases = read_cases(prepared)
    assert find_problems(cases) == []
    patients = {name: {item["case"] for item in getattr(cases, name)} for name in ("training", "validation", "test")}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == CASES
    assert all(patients.values())
    for _, item in cases.items():
        assert cv2.imread(item["image"]).shape == (64, 64, 3)
        mask = cv2.imread(item["label"], cv2.IMREAD_GRAYSCALE)
        assert np.count_nonzero(mask) == item["lesion_px"]
        for x0, y0, x1, y1 in item["boxes"]:
            assert mask[int(y0) : int(y1), int(x0) : int(x1)].any()
    assert {item["fold"] for item in cases.training} <= set(range(5))
    # All slices of a test patient, so that its volume can be put together again.
    for patient in patients["test"]:
        slices = [item["slice"] for item in cases.test if item["case"] == patient]
        assert slices == list(range(cases.facts["scans"][patient]["axial_shape"][0]))


def test_every_lesion_slice_is_kept_and_few_others(prepared, delivered):
    facts = {row["name"]: row for row in json.loads((delivered / "phantoms.json").read_text())}
    cases = read_cases(prepared)
    assert any(facts[item["case"]]["lesions"] for item in cases.training)
    empty = [item for item in cases.training if not item["lesion_px"]]
    depth = sum(cases.facts["scans"][name]["axial_shape"][0] for name in {item["case"] for item in cases.training})
    assert 0 < len(empty) < 0.5 * depth


def test_yolo_labels_say_the_same(prepared):
    cases = read_cases(prepared)
    item = next(item for item in cases.training if item["boxes"])
    text = item["image"].replace("/images/", "/labels/").replace(".png", ".txt")
    rows = np.loadtxt(text, ndmin=2)
    x, y, width, height = (rows[0, 1:] * 64).tolist()
    np.testing.assert_allclose(
        [x - width / 2, y - height / 2, x + width / 2, y + height / 2], item["boxes"][0], atol=1e-3
    )
    listed = (prepared / "train.txt").read_text().splitlines()
    assert len(listed) == len(cases.training)
    assert all((prepared / line).is_file() for line in listed)


def test_a_second_run_goes_on_from_the_first(prepared, delivered):
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*.png")}
    content = (prepared / "dataset.json").read_text()
    (prepared / "records" / "DUKE_002.json").unlink()
    prepare_duke(delivered, prepared, image_size=64, workers=1)
    assert (prepared / "dataset.json").read_text() == content
    changed = {path.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"DUKE_002"}
    with pytest.raises(BreastkitError, match="with other options"):
        prepare_duke(delivered, prepared, image_size=64, seed=1, workers=1)


def test_bad_patients_are_named_and_left_out(delivered, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(delivered, root)
    (root / "images/DUKE_001/duke_001_0001.nii.gz").write_bytes(b"")
    (root / "segmentations/expert/duke_002.nii.gz").unlink()
    for path in sorted((root / "images/DUKE_003").iterdir())[1:]:
        path.unlink()
    listed = tmp_path / "cases.txt"
    listed.write_text("DUKE_001\nduke_002\nDUKE_003\nDUKE_004\nDUKE_999\n")
    prepare_duke(root, tmp_path / "out", image_size=64, cases=listed, official_split=False, workers=1)
    rows = {row["patient"]: row for row in csv.DictReader((tmp_path / "out/curation.csv").open())}
    assert [name for name, row in rows.items() if row["kept"] == "True"] == ["DUKE_004"]
    assert "is empty" in rows["DUKE_001"]["reason"]
    assert "neither a lesion mask nor a box" in rows["DUKE_002"]["reason"]
    assert "holds 1 phases" in rows["DUKE_003"]["reason"]
    assert rows["DUKE_005"]["reason"] == "not listed in cases.txt"
    assert "no such patient" in rows["duke_999"]["reason"]


def test_official_split(delivered, tmp_path):
    prepare_duke(delivered, tmp_path / "out", image_size=64, official_split=True, workers=1)
    cases = read_cases(tmp_path / "out", check=False)
    assert {item["case"] for item in cases.test} == {"DUKE_006"}
    assert {item["case"] for item in cases.validation}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": "red"}, "red is no choice of channels"),
        ({"image_size": 100}, "give a multiple of 32"),
        ({"negatives": 2}, "give 0 to 1"),
    ],
)
def test_wrong_options(delivered, tmp_path, options, sentence):
    with pytest.raises(BreastkitError, match=sentence):
        prepare_duke(delivered, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_another_layout(tmp_path):
    with pytest.raises(BreastkitError, match=r"has no images and .*, and no Annotation_Boxes\.xlsx"):
        prepare_duke(tmp_path, tmp_path / "out")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """DICOM as the archive gives it, with a workbook of boxes drawn around the truth."""
    root = tmp_path_factory.mktemp("archive")
    write_mri_phantoms(str(root / "made"), cases=4, seed=3, dicom=True, size=40, workers=1)
    rows = []
    for number, folder in enumerate(sorted((root / "made").glob("case_*")), start=1):
        study = folder.rename(root / f"Breast_MRI_{number:03d}")
        phases = read_phases([study / "pre", study / "post_1"])
        truth = read_volume(root / "made" / "truth" / "lesions" / f"{folder.name}.nii.gz")
        # The files' own order is that of InstanceNumber; the truth comes along through the world.
        mask = (truth.array > 0).astype(np.uint8)
        if not mask.any():
            continue
        own = phases.restore(Grid.of(mask.shape, truth.affine).turn(mask))
        columns, lines, slices = ((a.min() + 1, a.max() + 1) for a in np.nonzero(own))
        rows.append([study.name, *lines, *columns, *slices, None, "=A1"])
    rows.append(["Breast_MRI_900", 1, 2, 1, 2, 1, 2, None, None])
    names = ["Patient ID", "Start Row", "End Row", "Start Column", "End Column", "Start Slice", "End Slice", "x", "y"]
    pd.DataFrame(rows, columns=names).to_excel(root / "Annotation_Boxes.xlsx", index=False)
    return root


def test_boxes_of_the_archive(archive, tmp_path):
    boxes = read_annotation_boxes(archive / "Annotation_Boxes.xlsx")
    prepare_duke(archive, tmp_path / "out", image_size=64, workers=1)
    cases = read_cases(tmp_path / "out", check=False)
    items = [item for _, item in cases.items()]
    assert items
    assert not any("label" in item for item in items)
    for name in {item["case"] for item in items}:
        scan, mine = cases.facts["scans"][name], [item for item in items if item["case"] == name and item["boxes"]]
        assert scan["boxes"] == [boxes[name]]
        assert len(mine) == boxes[name]["slice_max"] - boxes[name]["slice_min"] + 1
        # What takes up contrast lies in the box: the subtraction is brighter there than around it.
        x0, y0, x1, y1 = (round(edge) for edge in mine[len(mine) // 2]["boxes"][0])
        picture = cv2.imread(mine[len(mine) // 2]["image"])[..., 0].astype(float)
        assert picture[y0:y1, x0:x1].mean() > picture.mean()
    reasons = {row["patient"]: row["reason"] for row in csv.DictReader((tmp_path / "out/curation.csv").open())}
    assert "no folder of this name" in reasons["Breast_MRI_900"]


def test_an_unreadable_workbook(tmp_path):
    (tmp_path / "Annotation_Boxes.xlsx").write_bytes(b"no workbook")
    with pytest.raises(BreastkitError, match="cannot be read as a workbook"):
        prepare_duke(tmp_path, tmp_path / "out")
    pd.DataFrame({"Patient ID": ["a"]}).to_excel(tmp_path / "Annotation_Boxes.xlsx", index=False)
    with pytest.raises(BreastkitError, match="lacks the column Start Row"):
        prepare_duke(tmp_path, tmp_path / "out")
