import json
from dataclasses import replace

import numpy as np
from tests.findings.made_up import CLASSIFIERS, LIMITS, picture_findings

from breastkit.findings.ultrasound_csv import COLUMNS, ClassTable
from breastkit.findings.ultrasound_html import UltrasoundPage, single_page
from breastkit.findings.ultrasound_json import PictureFacts
from breastkit.findings.ultrasound_png import PictureOverlays
from breastkit.findings.ultrasound_views import Views, rounded
from breastkit.images import read_mask


def test_places_are_those_of_the_whole_picture(tmp_path):
    PictureFacts(tmp_path).write(picture_findings(), {"mask": "m.png"})
    told = json.loads((tmp_path / "clip_frame2.json").read_text())
    assert told["lesion"] == {"area_px": 15, "x_min": 9, "y_min": 6, "x_max": 13, "y_max": 8, "confidence": 0.9}
    assert (told["file"], told["seconds"], told["files"]) == ("clip.dcm#frame2", 0.123, {"mask": "m.png"})
    assert told["models"] == {
        "segmenter": {"architecture": "a_network", "sha256": 12 * "a"},
        **{role: {"architecture": "a_variant", "sha256": 12 * "b", **LIMITS} for role in CLASSIFIERS},
    }
    assert told["note"] == ""


def test_without_a_lesion_there_is_no_place_but_a_note(tmp_path):
    PictureFacts(tmp_path).write(picture_findings(found=False), {})
    told = json.loads((tmp_path / "clip_frame2.json").read_text())
    assert (told["lesion"]["x_min"], told["note"]) == (None, "No lesion.")


def test_pictures_are_those_there_are(tmp_path):
    findings = picture_findings()
    files = PictureOverlays(tmp_path).files(findings)
    assert files == {"mask": "clip_frame2_mask.png", "overlay": "clip_frame2_overlay.png"}
    PictureOverlays(tmp_path).write(findings, files)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files.values())
    inside = np.argwhere(read_mask(tmp_path / files["mask"]))
    assert (inside.min(axis=0).tolist(), inside.max(axis=0).tolist()) == ([6, 9], [8, 13])


def test_the_table_grows_and_names_no_file_that_is_not_written(tmp_path):
    table = ClassTable(tmp_path)
    for files in ({"mask": "m.png"}, {}):
        table.write(picture_findings(), files)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    codes = "too_small;lesion_cut"
    row = "clip.dcm#frame2,malignant,0.25,0.15,0.6,0.1235,0,15,"
    assert lines[1:] == [f"{row}m.png,1,,{codes}", f"{row},1,,{codes}"]


def test_pages_of_a_folder_and_of_one_picture_show_the_same(tmp_path):
    page = UltrasoundPage(tmp_path)
    page.write(picture_findings(), {})
    page.finish([])
    assert (tmp_path / "index.html").read_text() == single_page(picture_findings())


def test_the_page_says_what_the_operating_point_flags_beside_the_class():
    findings = picture_findings()
    reached = {**LIMITS, "recall": 0.951, "specificity": 0.567}
    models = tuple(replace(model, limits=reached) if model.role == "classifier" else model for model in findings.models)
    reading = replace(findings.reading, label="benign")
    page = single_page(replace(findings, reading=reading, models=models))
    assert "clip.dcm#frame2: benign, suspicious" in page
    assert "95 of 100 malignant lesions were flagged, and 43 of 100 others too" in page


def test_rounded_probabilities_sum_to_one():
    for seed in range(50):
        values = np.random.default_rng(seed).dirichlet([1, 1, 1])
        few = rounded(dict(zip("abc", values, strict=True)))
        assert round(sum(few.values()), 9) == 1
        assert all(abs(few[name] - value) < 2e-4 for name, value in zip("abc", values, strict=True))


def test_views_are_averaged_and_their_disagreement_is_told():
    views = Views()
    for file, malignant in (("a.png", 0.7), ("b.png", 0.2), ("other.png", 0.1)):
        findings = picture_findings()
        probabilities = {"normal": 0.1, "benign": 0.9 - malignant, "malignant": malignant}
        reading = replace(findings.reading, probabilities=probabilities, suspicious_from=0.44)
        case = None if file == "other.png" else "one"
        views.add(replace(findings, file=file, case=case, reading=reading))
    (row,) = views.rows()
    assert (row["p_benign"], row["p_malignant"], row["disagreement"]) == (0.45, 0.45, 0.5)
    assert (row["pictures"], row["suspicious"], row["files"]) == (2, 1, "a.png;b.png")
