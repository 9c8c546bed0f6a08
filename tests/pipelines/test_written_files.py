"""What `run mri` and `run us` write, file by file and byte by byte: other programs read these files."""

import json
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pandas as pd
import pytest
from tests.bundles.tiny import AFFINE, tiny_study
from tests.inference.ultrasound_weights import classifier_weights, segmenter_weights
from tests.pipelines.test_mri import box_of

from breastkit.dce.features import air_around, kinetic_features, place_features, shape_features
from breastkit.dce.landmarks import ChestWall
from breastkit.dce.phases import read_phases
from breastkit.dce.plausibility import doubts_about
from breastkit.images import write_nifti, write_png
from breastkit.inference.axial_view import AxialView
from breastkit.inference.picture_quality import REMARKS
from breastkit.pictures import LESION, PREDICTION, grid, overlay
from breastkit.pipelines.mri import NO_BREAST, NO_SIDES, run_mri
from breastkit.pipelines.ultrasound import run_ultrasound

LESION_COLUMNS = (
    "lesion,score,laterality,quadrant,clock,row_min,row_max,col_min,col_max,slice_min,slice_max,volume_mm3,"
    "longest_diameter_mm,sphericity,distance_to_skin_mm,distance_to_chest_wall_mm,distance_to_nipple_mm,enhancement,wash_in,wash_out,signal_enhancement_ratio,kinetic_class,"
    "motion_mm"
)


@pytest.fixture(scope="module")
def mri(tmp_path_factory):
    """The outputs for a study of three phases with a file that is none, and its phases."""
    folder = tmp_path_factory.mktemp("mri")
    (before, after), mask = tiny_study(1)
    for number, phase in enumerate((before, after, before + 0.7 * (after - before))):
        write_nifti(folder / "study" / f"x_{number:04d}.nii.gz", phase, AFFINE)
    (folder / "study" / "notes.txt").touch()
    boxes = folder / "given_boxes.json"
    boxes.write_text(json.dumps({"shape": mask.shape, "lesions": [{"score": 0.71236, **box_of(mask)}]}))
    page = run_mri(str(folder / "study"), out=str(folder / "out"), boxes=str(boxes))
    assert page == folder / "out" / "report.html"
    return folder / "out", read_phases(sorted((folder / "study").glob("*.nii.gz")))


def volumes(out):
    return [np.asarray(nibabel.load(out / f"{name}.nii.gz").dataobj) for name in ("breast", "lesions")]


def png_of(array, folder):
    return write_png(folder / "expected.png", array).read_bytes()


def test_files_of_an_mri_study(mri):
    out, _ = mri
    assert sorted(path.name for path in out.iterdir()) == [
        "breast.nii.gz", "fgt.nii.gz", "findings.json", "lesions.csv", "lesions.nii.gz", "overlay.png", "report.html",
        "report.pdf", "run.json", "sides.nii.gz", "study.csv",
    ]  # fmt: skip
    for name in ("breast", "sides", "fgt", "lesions"):
        image = nibabel.load(out / f"{name}.nii.gz")
        assert (image.get_data_dtype(), image.header.get_xyzt_units()) == (np.uint8, ("mm", "sec"))
        np.testing.assert_array_equal(image.affine, AFFINE)
        # No time in it, so that the same study gives the same bytes.
        assert (out / f"{name}.nii.gz").read_bytes()[4:8] == bytes(4)


def test_table_of_lesions(mri):
    out, phases = mri
    breast, lesions = volumes(out)
    mask = phases.axial(lesions == 1)
    measured = shape_features(mask, spacing=phases.spacing)
    air = air_around(phases.axial(breast), phases.arrays[0])
    wall = ChestWall.behind(phases.axial(breast), phases.spacing)
    measured |= place_features(mask, air, wall, spacing=phases.spacing)
    measured |= kinetic_features(mask, phases.arrays) | {"motion_mm": 0.0}
    box = box_of(lesions == 1)
    # What was outlined is no pair of breasts, so that nothing has a side.
    nowhere = dict.fromkeys(("laterality", "quadrant", "clock"))
    row = {"lesion": 1, "score": 0.7124, **nowhere, **{f"{a}_{e}": box[f"{a}_{e}"] for a in ("row", "col", "slice")
                                            for e in ("min", "max")}}  # fmt: skip
    row |= {name: round(value, 3) if isinstance(value, float) else value for name, value in measured.items()}
    expected = pd.DataFrame([row]).to_csv(index=False)
    assert expected.splitlines()[0] == LESION_COLUMNS
    assert (out / "lesions.csv").read_text() == expected


def test_facts_of_an_mri_study(mri):
    out, phases = mri
    breast, _ = volumes(out)
    found, record = (json.loads((out / f"{name}.json").read_text()) for name in ("findings", "run"))
    doubts = [*doubts_about(phases, breast > 0), NO_SIDES if breast.any() else NO_BREAST]
    assert (found["study"]["doubts"], record["doubts"]) == (doubts, doubts)
    assert found["study"]["phases"] == [str(path) for path in phases.paths]
    volumes_ml = [each["volume_ml"] for each in found["study"]["breasts"]]
    assert sum(volumes_ml) == pytest.approx(np.count_nonzero(breast) * 12 / 1000, abs=0.1)
    assert len(found["study"]["lesions"]) == 1
    assert record["skipped"] == [{"name": "notes.txt", "reason": "not a numbered phase"}]
    assert [each["file"] for each in record["inputs"]] == [path.name for path in phases.paths]
    assert {each["file"] for each in record["written"]} == {path.name for path in out.iterdir()} - {"run.json"}
    steps = [step["name"] for step in record["steps"]]
    assert steps == [
        "find phases", "open networks", "read phases", "outline breasts", "take out motion", "detect lesions",
        "outline lesions", "outline glands", "measure", "write",
    ]  # fmt: skip


def test_picture_of_an_mri_study(mri, tmp_path):
    out, phases = mri
    breast, lesions = volumes(out)
    view = AxialView(phases.restore(phases.arrays[1]), phases.affine, {"breast": breast, "lesion": lesions > 0})
    tile = view.picture(view.largest("lesion"), [("breast", PREDICTION), ("lesion", LESION)])
    expected = grid([[tile]], tile=400, column_titles=["lesion 1, score 0.71"])
    assert (out / "overlay.png").read_bytes() == png_of(expected, tmp_path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights that outline everything and call it malignant."""
    folder = tmp_path_factory.mktemp("weights")
    return {
        "segmenter": str(segmenter_weights(folder / "all", everything=True)),
        "classifier": str(classifier_weights(folder / "fusion", (0.2, 0.8), variant="fusion", threshold=0.55)),
        "normal_classifier": str(classifier_weights(folder / "aware", (0.25, 0.45, 0.3), variant="mask_aware")),
    }


@pytest.fixture(scope="module")
def us(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("us")
    gray = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
    for name in ("a", "b (1)"):
        write_png(folder / "in" / f"{name}.png", gray)
    page = run_ultrasound(str(folder / "in"), out=str(folder / "out"), backend="torch", **weights)
    assert page == folder / "out" / "report.html"
    return folder / "out", gray


def test_files_of_pictures(us, tmp_path):
    out, gray = us
    names = [f"{stem}_{kind}.png" for stem in ("a", "b (1)") for kind in ("explanation", "mask", "overlay")]
    together = ["findings.json", "report.html", "report.pdf", "results.csv", "run.json"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, *together])
    everywhere = np.ones(gray.shape, bool)
    for stem in ("a", "b (1)"):
        assert (out / f"{stem}_mask.png").read_bytes() == png_of(everywhere * np.uint8(255), tmp_path)
        drawn = overlay(gray, everywhere, PREDICTION)
        assert (out / f"{stem}_overlay.png").read_bytes() == png_of(drawn, tmp_path)
        assert cv2.imread(str(out / f"{stem}_explanation.png"), cv2.IMREAD_UNCHANGED).shape == (24, 40, 3)


def test_table_of_pictures(us):
    uncertainty = json.loads((us[0] / "findings.json").read_text())["pictures"][0]["uncertainty"]
    assert (us[0] / "results.csv").read_text() == (
        "file,class,p_normal,p_benign,p_malignant,uncertainty,abstain,lesion_area_px,mask,suspicious,unfamiliar,quality\n"
        f"a.png,malignant,0.25,0.15,0.6,{uncertainty},0,960,a_mask.png,1,,too_small;overlays;lesion_cut\n"
        f"b (1).png,malignant,0.25,0.15,0.6,{uncertainty},0,960,b (1)_mask.png,1,,too_small;overlays;lesion_cut\n"
    )


def test_facts_of_a_picture(us, weights):
    found = json.loads((us[0] / "findings.json").read_text())
    told = found["pictures"][1]
    expected = {
        "file": "b (1).png",
        "case": None,
        "class": "malignant",
        "suspicious": True,
        "probabilities": {"normal": 0.25, "benign": 0.15, "malignant": 0.6},
        "uncertainty": told["uncertainty"],
        "abstain": False,
        "decided_by": "fusion",
        "unfamiliar": None,
        "distance": None,
        "familiar_up_to": None,
        "quality": ["too_small", "overlays", "lesion_cut"],
        "doubts": [REMARKS[code] for code in ("too_small", "overlays", "lesion_cut")],
        "lesion": {
            "area_px": 960,
            "x_min": 0,
            "y_min": 0,
            "x_max": 39,
            "y_max": 23,
            "confidence": told["lesion"]["confidence"],
        },
        "relevance_in_lesion": told["relevance_in_lesion"],
        "rows_and_columns": [24, 40],
        "files": {kind: f"b (1)_{kind}.png" for kind in ("mask", "overlay", "explanation")},
    }
    assert told == expected
    assert 0.97 < told["lesion"]["confidence"] < 0.99
    assert 0 < told["uncertainty"] < 0.95
    sha256 = {name: json.loads(Path(path).with_name("model.json").read_text())["sha256"] for name, path in
              weights.items()}  # fmt: skip
    limits = {
        "segmenter": ("light", {}),
        "classifier": ("fusion", {"suspicious_from": 0.55, "abstain_above": 0.95}),
        "normal_classifier": ("mask_aware", {"suspicious_from": 0.5, "abstain_above": 0.95}),
    }
    assert found["models"] == [
        {"role": role, "architecture": architecture, "sha256": sha256[role], "limits": figures}
        for role, (architecture, figures) in limits.items()
    ]
