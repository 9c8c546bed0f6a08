"""Inference and evaluation of the tissue bundle: results lie where the scan lies, bad scans are named."""

import csv
import json
import os
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import create_workflow

from breastkit.cases import write_cases
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.errors import BreastkitError, sentence_of
from breastkit.images import read_volume, write_nifti
from breastkit.metrics import dice
from breastkit.training import save_weights

BUNDLE = Path(__file__).parents[2] / "bundles" / "breast_mri_tissue_segmentation"
CODES = ["".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a network without any, whose logits are the preprocessed image: what is bright is the breast."""
    network = torch.nn.Identity()
    return save_weights(tmp_path_factory.mktemp("w"), network, architecture="identity", image_size=40, threshold=0.8)


def phantom():
    """A scan in the canonical frame with a bright block that no flip or turn maps onto itself, and the block."""
    affine = np.array([[-1.1, 0.05, 0, 9], [0.05, 1.2, 0.02, -4], [0, -0.02, 2.0, 3], [0, 0, 0, 1.0]])
    truth = np.zeros((40, 32, 12), dtype=bool)
    truth[4:16, 18:28, 2:7] = True
    scan = np.full(truth.shape, 20)
    scan[truth] = 200
    scan[8:10, 20:22, 3:5] = 300
    return scan.astype(np.int16), truth, affine


def stored_as(codes, array, affine):
    start, end = nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
    image = nibabel.Nifti1Image(array, affine)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(start, end))
    return np.asarray(turned.dataobj), turned.affine


def workflow(*names, **options):
    """A workflow with the network that passes its input on; orientation by the header."""
    fixed = {"network_def": {"_target_": "torch.nn.Identity"}, "orientation": "off", "backend": "torch"}
    configs = [str(BUNDLE / "configs" / f"{name}.json") for name in names]
    return create_workflow(config_file=configs, workflow_type="infer", **{**fixed, **options})


def infer(scans, out, weights, **options):
    opened = workflow("inference", dataset_dir=str(scans), output_dir=str(out), ckpt_path=str(weights), **options)
    opened.run()
    return out


def rows(path):
    return list(csv.DictReader(path.open()))


@pytest.fixture(scope="module")
def turned(weights, tmp_path_factory):
    """Outputs for the same scan stored in many ways, as files and as DICOM series."""
    root = tmp_path_factory.mktemp("turned")
    scan, _, affine = phantom()
    for codes in CODES:
        write_nifti(root / "scans" / f"{codes}.nii.gz", *stored_as(codes, scan, affine))
    for codes in ("LPS", "LPI", "PSL"):
        array, place = stored_as(codes, scan, np.diag([-1.1, 1.2, 2.0, 1.0]))
        study = MrStudy(patient_id="Breast_MRI_0153", uid_source=codes)
        write_mr_series(root / "scans" / f"dicom {codes}", array, place, study, number=1, description="dyn")
    infer(root / "scans", root / "out", weights, save_probability=True)
    return root


@pytest.mark.parametrize("codes", CODES)
def test_masks_lie_on_the_scans_own_grid(turned, codes):
    _, truth, affine = phantom()
    source = nibabel.load(turned / "scans" / f"{codes}.nii.gz")
    expected, _ = stored_as(codes, truth.astype(np.uint8), affine)
    for end in ("breast", "candidate", "probability"):
        result = nibabel.load(turned / "out" / f"{codes}_{end}.nii.gz")
        assert result.shape == source.shape
        np.testing.assert_allclose(result.affine, source.affine, atol=1e-6)
        for form in ("get_qform", "get_sform"):
            np.testing.assert_allclose(getattr(result.header, form)(), getattr(source.header, form)(), atol=1e-6)
    assert dice(read_volume(turned / "out" / f"{codes}_breast.nii.gz", mask=True).array, expected) > 0.9
    candidate = read_volume(turned / "out" / f"{codes}_candidate.nii.gz", mask=True).array > 0
    assert set(np.asarray(source.dataobj)[candidate]) == {300}
    probability = nibabel.load(turned / "out" / f"{codes}_probability.nii.gz").get_fdata()
    assert 0 <= probability.min() < 0.5 < probability.max() <= 1


@pytest.mark.parametrize("codes", ["LPS", "LPI", "PSL"])
def test_masks_of_a_series_have_its_affine_and_instance_order(turned, codes):
    _, truth, _ = phantom()
    expected, affine = stored_as(codes, truth.astype(np.uint8), np.diag([-1.1, 1.2, 2.0, 1.0]))
    result = read_volume(turned / "out" / f"dicom {codes}_breast.nii.gz", mask=True)
    np.testing.assert_allclose(result.affine, affine, atol=1e-4)
    assert dice(result.array, expected) > 0.9


def test_one_row_and_picture_a_scan(turned):
    features = rows(turned / "out" / "features.csv")
    assert len(features) == len(CODES) + 3
    assert list(features[0]) == [
        "patient_id", "scan", "volume_voxels", "volume_mm3", "mean_intensity", "max_intensity"
    ]  # fmt: skip
    by_scan = {row["scan"]: row for row in features}
    assert by_scan["dicom LPS"]["patient_id"] == "153"
    row = by_scan["RAS"]
    assert (row["patient_id"], row["volume_voxels"], float(row["max_intensity"])) == ("RAS", "8", 300)
    assert float(row["volume_mm3"]) == pytest.approx(8 * abs(np.linalg.det(phantom()[2][:3, :3])), abs=0.01)
    names = {path.name for path in (turned / "out").iterdir()}
    assert {"RAS_overlay.png", "RAS_surface.png", "predictions.png", "predictions_2.png", "predictions_3.png"} <= names
    assert not any(name.startswith(".writing") for name in names)
    assert "problems.csv" not in names
    assert {row["mode"] for row in rows(turned / "out" / "orientation.csv")} == {"off"}


def test_bad_scans_are_named_and_the_others_finished(weights, tmp_path, capsys):
    scan, _, affine = phantom()
    folder = tmp_path / "scans"
    write_nifti(folder / "good.nii.gz", scan, affine)
    write_nifti(folder / "flat.nii.gz", np.ones_like(scan), affine)
    write_nifti(folder / "four.nii.gz", np.stack([scan, scan], axis=-1), affine)
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "cut.nii.gz").write_bytes((folder / "good.nii.gz").read_bytes()[:-5000])
    (folder / "good_mask.nii.gz").write_bytes(b"")
    with pytest.raises(Exception, match="dataset") as caught:
        infer(folder, tmp_path / "out", weights)
    sentence = sentence_of(caught.value)
    assert sentence.startswith("4 of 5 scans could not be used, the others are done: ")
    assert "Left aside: good_mask.nii.gz: a mask, by its name." in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {
        "good_breast.nii.gz",
        "good_candidate.nii.gz",
    }
    problems = {row["input"]: row["problem"] for row in rows(tmp_path / "out" / "problems.csv")}
    assert set(problems) == {"flat.nii.gz", "four.nii.gz", "empty.nii.gz", "cut.nii.gz", "good_mask.nii.gz"}
    assert [row["scan"] for row in rows(tmp_path / "out" / "features.csv")] == ["good"]


def test_an_empty_mask_is_a_row_of_zeros(weights, tmp_path):
    scan, _, affine = phantom()
    write_nifti(tmp_path / "x.nii.gz", scan, affine)
    out = infer(tmp_path / "x.nii.gz", tmp_path / "out", weights, threshold=1.1)
    row = rows(out / "features.csv")[0]
    assert [float(row[key]) for key in row if key not in ("patient_id", "scan")] == [0, 0, 0, 0]
    assert not read_volume(out / "x_breast.nii.gz", mask=True).array.any()


def test_weights_of_another_network_are_refused_with_a_sentence(tmp_path):
    scan, _, affine = phantom()
    write_nifti(tmp_path / "x.nii.gz", scan, affine)
    facts = {"architecture": "other", "image_size": 40, "threshold": 0.5}
    other = save_weights(tmp_path / "w", torch.nn.Linear(2, 2), **facts)
    with pytest.raises(BreastkitError, match="does not fit this network"):
        try:
            infer(tmp_path / "x.nii.gz", tmp_path / "out", other)
        except RuntimeError as error:
            raise BreastkitError(sentence_of(error)) from error
    assert not list((tmp_path / "out").glob("*"))


def test_on_the_command_line_the_sentence_is_the_last_line(weights, tmp_path):
    for number in (1, 2):
        study = MrStudy(patient_id="Breast_MRI_0153", uid_source=f"{number}")
        series = {"number": number, "description": f"dyn {number}"}
        scan, _, affine = phantom()
        write_mr_series(tmp_path / f"series {number}", scan, np.diag(np.diag(affine)), study, **series)
    for path in (tmp_path / "series 2").iterdir():
        path.rename(tmp_path / "series 1" / f"2_{path.name}")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", BUNDLE / "configs" / "inference.json"]
    command += ["--dataset_dir", tmp_path / "series 1", "--output_dir", tmp_path / "out", "--ckpt_path", weights]
    command += ["--network_def", "$torch.nn.Identity()"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "series 1 holds 2 series ('dyn 1' of 12 images, 'dyn 2' of 12 images)" in last
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_evaluation_measures_on_the_scans_own_grid(weights, tmp_path):
    scan, truth, affine = phantom()
    items = []
    for number, codes in enumerate(("LAS", "PIR", "SRP")):
        item = {"case": f"case {number}", "fold": 0}
        for key, array in (("image", scan), ("label", truth.astype(np.uint8))):
            item[key] = str(tmp_path / key / f"{codes}.nii.gz")
            write_nifti(item[key], *stored_as(codes, array, affine))
        items.append(item)
    # A mask that misses: it must come out as the worst.
    wrong, place = stored_as("PIR", np.roll(truth, 6, axis=0).astype(np.uint8), affine)
    write_nifti(items[1]["label"], wrong, place)
    write_cases(tmp_path, {"training": items[:1], "test": items})
    out = tmp_path / "run"
    options = {"dataset_dir": str(tmp_path), "output_dir": str(out), "ckpt_path": str(weights)}
    opened = workflow("inference", "evaluate", **options)
    opened.run()
    table = rows(out / "evaluation" / "metrics.csv")
    assert list(table[0]) == ["case", "dice", "iou", "hd95_mm", "volume_error_ml"]
    figures = {row["case"]: {key: float(value) for key, value in row.items() if key != "case"} for row in table}
    assert figures["case 0"]["dice"] > 0.9
    assert figures["case 0"] == pytest.approx(figures["case 2"], abs=1e-3)
    assert figures["case 1"]["dice"] < 0.6
    assert figures["case 1"]["hd95_mm"] == pytest.approx(6 * 1.1, abs=0.5)
    slices = rows(out / "evaluation" / "slices.csv")
    assert len(slices) == 3 * 12, "axial slices, whatever axis they lie along in the file"
    page = (out / "evaluation" / "index.html").read_text()
    assert page.index("case 1") < page.index("case 0")
    assert page.count("data:image/jpeg;base64,") == 3
    summary = json.loads((out / "evaluation" / "summary.json").read_text())
    assert (summary["cases"], summary["split"], summary["architecture"]) == (3, "test", "identity")
    low, high = summary["means_with_95_interval"]["dice"][1:]
    assert low <= summary["means_with_95_interval"]["dice"][0] <= high
    assert opened.evaluator.state.metrics["mean_dice"] == pytest.approx(
        np.mean([row["dice"] for row in figures.values()]), abs=1e-4
    )
