"""findings.json: what it tells, and that its published schema holds."""

import json
from dataclasses import replace

import jsonschema
import pytest
from tests.findings.made_up import CLASSIFIERS, LIMITS, mri_findings, picture_findings

from breastkit.dce.glands import GlandMeasures
from breastkit.dicom.derived_objects import Side
from breastkit.findings.findings_json import SCHEMA, FindingsFile
from breastkit.findings.writers import Outputs


def told(folder, *findings, problems=()):
    """Returns what is written, once the schema accepts it."""
    outputs = Outputs(folder, [FindingsFile])
    for each in findings:
        outputs.write(each)
    outputs.finish(problems)
    found = json.loads((folder / "findings.json").read_text())
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(found, schema)
    return found


def test_a_study_with_its_lesions(tmp_path):
    found = told(tmp_path, mri_findings())
    assert (found["kind"], found["models"][0]["sha256"], found["models"][0]["limits"]) == (
        "mri",
        64 * "a",
        {"threshold": 0.5},
    )
    study = found["study"]
    assert (study["name"], study["phases"], study["doubts"]) == ("study", ["pre", "post"], ["It is made up."])
    assert study["breasts"] == [{"side": None, "volume_ml": 3.6, "glands": None}]
    first, second = study["lesions"]
    assert (first["number"], second["score"], first["side"]) == (1, 0.6654, None)
    assert first["box"] == {"col_min": 2, "col_max": 5, "row_min": 3, "row_max": 7, "slice_min": 1, "slice_max": 2}
    assert first["measurements"] == [
        {"name": "volume_mm3", "value": 480.0, "unit": "mm3"},
        {"name": "sphericity", "value": 0.1235, "unit": "1"},
        {"name": "distance_to_skin_mm", "value": None, "unit": "mm"},
        {"name": "kinetic_class", "value": "washout", "unit": "1"},
    ]


def test_sides_are_told_where_they_are_plain(tmp_path):
    findings = mri_findings(lesions=0)
    # The grid's slices run from right to left, 3 mm each from 30.
    measured = GlandMeasures(2.4, 0.6, 0.2, 0.3)
    study = told(tmp_path, replace(findings, midline=30 - 3 * 2.5, tissue={Side.LEFT: measured}))["study"]
    assert [(one["side"], one["volume_ml"]) for one in study["breasts"]] == [("left", 2.4), ("right", 1.2)]
    assert study["breasts"][0]["glands"] == {
        "breast_ml": 2.4, "fgt_ml": 0.6, "fgt_percent": 25.0, "density": "c", "bpe_mean": 0.2, "bpe_quartile": 0.3
    }  # fmt: skip
    assert study["breasts"][1]["glands"] is None
    assert study["lesions"] == []


def test_pictures_with_places_of_the_whole_picture(tmp_path):
    with_lesion, without = told(tmp_path, picture_findings(), picture_findings(found=False))["pictures"]
    box = {"x_min": 9, "y_min": 6, "x_max": 13, "y_max": 8}
    assert with_lesion["lesion"] == {"area_px": 15, **box, "confidence": 0.9}
    assert (with_lesion["file"], with_lesion["class"]) == ("clip.dcm#frame2", "malignant")
    assert (with_lesion["suspicious"], with_lesion["quality"]) == (True, ["too_small", "lesion_cut"])
    assert (without["lesion"]["x_min"], without["doubts"]) == (None, ["No lesion."])


def test_cases_and_problems_of_a_run(tmp_path):
    pictures = [replace(picture_findings(), case="p1")] * 2
    found = told(tmp_path, *pictures, problems=["x.png is damaged."])
    assert [(case["case"], case["pictures"]) for case in found["cases"]] == [("p1", 2)]
    assert found["problems"] == ["x.png is damaged."]
    assert {model["role"]: model["limits"] for model in found["models"]} == {
        "segmenter": {},
        **dict.fromkeys(CLASSIFIERS, LIMITS),
    }


def test_the_schema_refuses_what_it_does_not_know(tmp_path):
    found, schema = told(tmp_path, mri_findings()), json.loads(SCHEMA.read_text())
    found["study"]["lesions"][0]["diagnosis"] = "cancer"
    with pytest.raises(jsonschema.ValidationError, match="diagnosis"):
        jsonschema.validate(found, schema)
    del found["study"]
    with pytest.raises(jsonschema.ValidationError, match="study"):
        jsonschema.validate(found, schema)
