import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from breastkit.cases import read_cases
from breastkit.datasets.tissue import check_tissue, gland_items, patient_id, prepare_tissue
from breastkit.datasets.tissue_case import true_affine
from breastkit.errors import BreastkitError
from breastkit.images import read_volume, write_nifti
from breastkit.phantoms.mri import make_mri_phantom, write_mri_phantoms
from breastkit.transforms.orient_breast import canonical_orientation

SIZE = 40


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """Four cases to train, one to test; the headers of two of three lie."""
    root = tmp_path_factory.mktemp("delivered")
    write_mri_phantoms(str(root), cases=4, seed=1, size=SIZE, lying_headers=True, workers=1)
    return root


@pytest.fixture(scope="module")
def prepared(delivered, tmp_path_factory):
    out = tmp_path_factory.mktemp("work") / "tissue"
    prepare_tissue(delivered, out, workers=1)
    return out


@pytest.fixture
def root(delivered, tmp_path):
    return Path(shutil.copytree(delivered, tmp_path / "root"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Breast_MRI_007", "7"), ("p12_scan_0340", "340"), ("case-000", "0"), ("anna", "anna"), ("2020-05-01b", "1")],
)
def test_patient_id_is_the_last_run_of_digits(name, expected):
    assert patient_id(name) == expected


def test_check_counts_and_compares(delivered):
    text = check_tissue(delivered, workers=1)
    assert "4 training scans with masks, 1 inference scans" in text
    assert "orientation by header:" in text
    assert "spacing in mm: median" in text


def test_every_missing_or_empty_part_is_named_at_once(root):
    shutil.rmtree(root / "train" / "masks")
    for path in (root / "inference" / "scans").iterdir():
        path.unlink()
    (root / "clinical.csv").write_text("")
    for work in (check_tissue, lambda place: prepare_tissue(place, root / "out")):
        with pytest.raises(BreastkitError) as caught:
            work(root)
        sentence = str(caught.value)
        for part in ("train/masks is missing", "inference/scans holds no .nii", "clinical.csv is empty"):
            assert part in sentence
        assert "train/scans" not in sentence
    assert not (root / "out").exists()
    with pytest.raises(BreastkitError, match="nowhere does not exist"):
        check_tissue(root / "nowhere")


def canonical(array, affine):
    return nibabel.orientations.apply_orientation(array, canonical_orientation(affine))


def test_prepared_volumes_are_in_one_frame_whatever_the_headers_said(prepared):
    cases = read_cases(prepared)
    seen = 0
    for _, item in cases.items():
        scan, mask = read_volume(item["image"]), read_volume(item["label"], mask=True)
        assert nibabel.aff2axcodes(scan.affine) == ("L", "A", "S")
        np.testing.assert_allclose(scan.affine, mask.affine)
        assert scan.array.dtype == np.int16
        honest = make_mri_phantom(1, int(item["case"]), shape=(SIZE, SIZE, 15))
        np.testing.assert_array_equal(scan.array, canonical(honest.phases[1], honest.affine))
        np.testing.assert_array_equal(mask.array, canonical(honest.breast, honest.affine))
        np.testing.assert_allclose(scan.affine, true_affine(honest.affine, honest.breast.shape), atol=1e-4)
        seen += 1
    assert seen == 5


def test_lists_decisions_and_tables(prepared, delivered):
    cases = read_cases(prepared)
    assert len(cases.training) + len(cases.validation) == 4
    assert cases.validation
    assert [item["case"] for item in cases.test] == ["5"]
    assert cases.inference == []
    assert all("fold" in item for item in cases.training)
    assert cases.facts["problems"] == []
    assert sum(cases.facts["consistency"]["orientations"].values()) == 5
    assert cases.training[0]["clinical"]["patient_id"] == cases.training[0]["case"]

    told = {
        entry["name"]: entry["settings"]["lied_axes"] for entry in json.loads((delivered / "phantoms.json").read_text())
    }
    table = pd.read_csv(prepared / "orientation.csv")
    assert len(table) == 5
    for row in table.itertuples():
        lied = told[Path(row.img).name.removesuffix(".nii.gz")]
        assert (row.rows_flipped, row.slices_flipped) == ("AP" in lied, "SI" in lied)
    assert table.rows_flipped.any()

    slices = pd.read_csv(prepared / "slices.csv")
    columns = ["patient_id", "img", "mask", "slice_number", "validation", "slice_index", "orig_h", "orig_w"]
    assert list(slices.columns) == columns
    assert len(slices) == 5 * 15
    tested = slices[slices.patient_id == 5]
    assert (tested.slice_index == range(15)).all()
    assert (tested.orig_h == SIZE).all()
    assert tested.validation.isna().all()
    learned = slices[slices.patient_id != 5]
    assert set(learned.validation) == {0, 1}
    assert learned.slice_index.isna().all()
    assert all((prepared / path).is_file() for path in {*slices.img, *slices["mask"]})

    pictures = sorted(path.name for path in (prepared / "pictures").iterdir())
    assert len([name for name in pictures if name.endswith("orientation.png")]) == 5
    assert len([name for name in pictures if name.endswith("alignment.png")]) == 4


def test_preparing_again_keeps_split_and_unchanged_volumes(root, tmp_path):
    out = tmp_path / "out"
    prepare_tissue(root, out, workers=1)
    before = json.loads((out / "dataset.json").read_text())
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    # A new patient arrives and one mask is corrected.
    for part in ("scans", "masks"):
        shutil.copy(root / "train" / part / "case_001.nii.gz", root / "train" / part / "case_090.nii.gz")
    mask = read_volume(root / "train" / "masks" / "case_002.nii.gz", mask=True)
    write_nifti(mask.path, mask.array * (np.arange(SIZE)[:, None, None] > 3), mask.affine)
    prepare_tissue(root, out, workers=1)
    after = json.loads((out / "dataset.json").read_text())
    redone = {path.name for path, time in written.items() if path.stat().st_mtime_ns != time}
    assert redone == {"case_002.nii.gz"}

    def places(content):
        return {
            item["image"]: (name, item.get("fold"))
            for name in ("training", "validation", "test")
            for item in content[name]
        }

    old, new = places(before), places(after)
    assert {image: new[image] for image in old} == old
    assert set(new) - set(old) == {"train/scans/case_090.nii.gz"}
    with pytest.raises(BreastkitError, match="never reshuffled"):
        prepare_tissue(root, out, seed=3, workers=1)


def test_modes(root, tmp_path):
    header = {}
    for mode in ("report", "off"):
        prepare_tissue(root, tmp_path / mode, mode=mode, workers=1)
        for _, item in read_cases(tmp_path / mode).items():
            header.setdefault(item["case"], {})[mode] = (read_volume(item["image"]).array, item["orientation"])
    for both in header.values():
        np.testing.assert_array_equal(both["report"][0], both["off"][0])
        assert "rows" not in both["off"][1]
    assert any(both["report"][1]["rows"]["wrong"] for both in header.values())
    with pytest.raises(BreastkitError, match="orientation mode"):
        prepare_tissue(root, tmp_path / "maybe", mode="maybe", workers=1)


def test_flips_planted_in_training_masks_are_undone(root, prepared, tmp_path):
    for number, axis in ((1, "AP"), (2, "RL")):
        path = root / "train" / "masks" / f"case_00{number}.nii.gz"
        mask = read_volume(path, mask=True)
        codes = nibabel.aff2axcodes(mask.affine)
        flip = next(n for n, code in enumerate(codes) if code in axis)
        for each in (path, root / "train" / "glands" / path.name):
            write_nifti(each, np.flip(read_volume(each, mask=True).array, flip), mask.affine)
    prepare_tissue(root, tmp_path / "out", workers=1)
    for name in (f"train/{kind}/case_00{number}.nii.gz" for number in (1, 2) for kind in ("masks", "glands")):
        np.testing.assert_array_equal(
            read_volume(tmp_path / "out" / name, mask=True).array, read_volume(prepared / name, mask=True).array
        )
    table = pd.read_csv(tmp_path / "out" / "orientation.csv").set_index("patient_id")
    assert (table.mask_upside_down[1], table.mask_mirrored[2]) == (True, True)


def test_glands_go_along_and_are_what_a_gland_network_learns(prepared):
    cases = read_cases(prepared)
    for item in gland_items(cases.training):
        assert item["label"] == item["glands"] and "/masks/" in item["breast"]
        glands, breast = (read_volume(item[key], mask=True) for key in ("label", "breast"))
        np.testing.assert_array_equal(glands.affine, breast.affine)
        assert glands.array.any() and not (glands.array & ~breast.array.astype(bool)).any()
    with pytest.raises(BreastkitError, match="outlined in none of the scans"):
        gland_items([{"image": "x", "label": "y"}])


def four_dimensions(path):
    array = np.zeros((4, 4, 4, 2), np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def with_nan(path):
    scan = read_volume(path)
    array = scan.array.astype(np.float32)
    array[0, 0, 0] = np.nan
    write_nifti(path, array, scan.affine)


def without_position(path):
    image = nibabel.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), None)
    image.header["srow_x"] = image.header["srow_y"] = image.header["srow_z"] = 0
    image.header["sform_code"] = 1
    nibabel.save(image, path)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-2000])


def of_labels(path):
    mask = read_volume(path, mask=True)
    write_nifti(path, mask.array * 3, mask.affine)


def of_another_shape(path):
    mask = read_volume(path, mask=True)
    write_nifti(path, mask.array[:-2], mask.affine)


def nothing_marked(path):
    mask = read_volume(path, mask=True)
    write_nifti(path, mask.array * 0, mask.affine)


@pytest.mark.parametrize(
    ("part", "damage", "words"),
    [
        ("scans", truncated, "truncated"),
        ("scans", lambda path: path.write_bytes(b""), "is empty"),
        ("scans", lambda path: path.write_text("hello"), "not a NIfTI"),
        ("scans", four_dimensions, "4 dimensions"),
        ("scans", with_nan, "NaN"),
        ("scans", without_position, "affine without volume"),
        ("scans", lambda path: path.unlink(), "is a mask without scan"),
        ("masks", lambda path: path.unlink(), "has no mask"),
        ("masks", of_labels, "other values than 0 and 1"),
        ("masks", of_another_shape, "another size than its scan"),
        ("masks", nothing_marked, "nothing is marked"),
        ("masks", lambda path: shutil.copy(path, path.with_suffix("")), "have the same name"),
    ],
)
def test_a_bad_case_is_named_and_the_rest_finished(root, tmp_path, capsys, part, damage, words):
    damage(root / "train" / part / "case_003.nii.gz")
    prepare_tissue(root, tmp_path / "out", workers=1)
    cases = read_cases(tmp_path / "out")
    assert sorted(item["case"] for _, item in cases.items()) == ["1", "2", "4", "5"]
    problems = cases.facts["problems"]
    assert any(words in problem and "case_003" in problem for problem in problems)
    assert problems[0] in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob(".writing*"))
    assert not (tmp_path / "out" / "train" / "scans" / "case_003.nii.gz").exists()


@pytest.mark.parametrize(
    ("part", "damage", "words"),
    [
        ("scans", truncated, "truncated"),
        ("scans", without_position, "affine without volume"),
        ("masks", lambda path: path.unlink(), "has no mask"),
        ("scans", lambda path: path.unlink(), "is a mask without scan"),
    ],
)
def test_check_fails_when_a_file_cannot_be_used(root, part, damage, words):
    damage(root / "train" / part / "case_003.nii.gz")
    with pytest.raises(BreastkitError, match=words) as caught:
        check_tissue(root, workers=1)
    lines = str(caught.value).splitlines()
    assert "3 training scans with masks, 1 inference scans" in lines[0]
    assert [line for line in lines if "case_003" in line] == lines[-1:]


def test_nothing_usable_is_an_error(root, tmp_path):
    for path in root.glob("*/scans/*"):
        path.write_bytes(b"")
    with pytest.raises(BreastkitError, match="no scan that can be used") as caught:
        prepare_tissue(root, tmp_path / "out", workers=1)
    assert str(caught.value).count("is empty") == 5
    with pytest.raises(BreastkitError, match="no scan that can be used"):
        check_tissue(root, workers=1)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_the_other_layout_its_names_and_its_clinical_table(delivered, tmp_path):
    root = tmp_path / "root"
    (root / "train_data" / "GT").mkdir(parents=True)
    (root / "train_data" / "scans").mkdir()
    (root / "inference_data").mkdir()
    for number in range(1, 5):
        scan = read_volume(delivered / f"train/scans/case_00{number}.nii.gz")
        mask = read_volume(delivered / f"train/masks/case_00{number}.nii.gz", mask=True)
        write_nifti(root / "train_data" / "scans" / f"Breast_MRI_{number:03d}.nii", scan.array, scan.affine)
        write_nifti(root / "train_data" / "GT" / f"mask_of_{number:04d}.nii.gz", mask.array, mask.affine)
    shutil.copy(delivered / "inference/scans/case_005.nii.gz", root / "inference_data" / "Breast_MRI_005.nii.gz")
    lines = [
        ["Patient Information", "MRI", None],
        ["Patient ID", "Field Strength", "Notes"],
        [None, "1.5=1", "free text"],
        ["Breast_MRI_002", "1", None],
        ["Breast_MRI_004", "3", "second scan"],
    ]
    pd.DataFrame(lines).to_excel(root / "Clinical_and_Other_Features.xlsx", header=False, index=False)

    assert "4 training scans with masks, 1 inference scans" in check_tissue(root, workers=1)
    prepare_tissue(root, tmp_path / "out", workers=1)
    cases = read_cases(tmp_path / "out")
    assert cases.test, "without masks of inference scans the test list comes from the training scans"
    assert [item["case"] for item in cases.inference] == ["5"]
    assert "label" not in cases.inference[0]
    items = {item["case"]: item for _, item in cases.items()}
    assert sorted(items) == ["1", "2", "3", "4", "5"]
    assert items["2"]["clinical"] == {"Patient ID": "Breast_MRI_002", "Field Strength": "1"}
    assert items["4"]["clinical"]["Notes"] == "second scan"
    assert "clinical" not in items["1"]


def test_a_patient_to_train_with_cannot_test(root, tmp_path):
    for part in ("scans", "masks"):
        shutil.copy(root / "train" / part / "case_001.nii.gz", root / "inference" / part / "second_visit_1.nii.gz")
    prepare_tissue(root, tmp_path / "out", workers=1)
    cases = read_cases(tmp_path / "out")
    assert [item["case"] for item in cases.test] == ["5"]
    assert [item["case"] for item in cases.inference] == ["1"]
    assert any("cannot test" in problem for problem in cases.facts["problems"])


def test_numbers_that_do_not_fit_stay_real(root, tmp_path):
    scan = read_volume(root / "train" / "scans" / "case_001.nii.gz")
    write_nifti(scan.path, scan.array.astype(np.float32) / 7, scan.affine)
    prepare_tissue(root, tmp_path / "out", workers=1)
    kept = read_volume(tmp_path / "out" / "train" / "scans" / "case_001.nii.gz").array
    assert kept.dtype == np.float32
    assert sorted(np.unique(kept)) == sorted(np.unique(scan.array.astype(np.float32) / 7))
