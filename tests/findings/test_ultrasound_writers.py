from dataclasses import replace

import numpy as np
from tests.findings.made_up import picture_findings

from breastkit.findings.ultrasound_csv import COLUMNS, ClassTable
from breastkit.findings.ultrasound_png import PictureOverlays
from breastkit.findings.ultrasound_views import Views, rounded
from breastkit.images import read_mask


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
