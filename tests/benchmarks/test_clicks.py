import csv
import json

import pytest

from benchmarks.clicks import bench_clicks
from breastkit.datasets.busi import prepare_busi
from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import write_mri_phantoms
from breastkit.phantoms.us.pictures import write_us_phantoms


def rows_of(folder):
    with (folder / "clicks.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_click_of_every_picture_is_measured(tmp_path):
    write_us_phantoms(str(tmp_path / "phantom"), cases=12, seed=1, workers=1)
    prepared = prepare_busi(str(tmp_path / "phantom"), str(tmp_path / "busi"), workers=1).parent
    model = "breast_us_lesion_segmentation_clicks"
    told = bench_clicks(str(prepared), out=str(tmp_path / "out"), clicks=2)
    rows = rows_of(tmp_path / "out")
    pictures = {row["image"] for row in rows}
    assert pictures
    assert [row["clicks"] for row in rows] == ["0", "1", "2", "box"] * len(pictures)
    assert all(0 <= float(row["dice"]) <= 1 and float(row["cpu_seconds"]) > 0 for row in rows)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    of_all = summary["models"][model]["all"]
    mean = sum(float(row["dice"]) for row in rows if row["clicks"] == "2") / len(pictures)
    assert of_all["dice"]["2"][0] == pytest.approx(mean, abs=1e-4)
    assert of_all["images"] == len(pictures)
    assert f"{model}: Dice" in told and "all, 2 clicks: " in told
    with pytest.raises(BreastkitError, match="No bundle ships weights that follow prompts"):
        bench_clicks(str(prepared), out=str(tmp_path / "none"), bundle="brain_mri_tumor_segmentation")


def test_every_lesion_of_a_study_is_clicked_on_by_itself(tmp_path):
    write_mri_phantoms(str(tmp_path / "studies"), cases=1, seed=3, layout="mamamia", size=64, workers=1)
    bench_clicks(str(tmp_path / "studies"), out=str(tmp_path / "out"), clicks=1)
    rows = rows_of(tmp_path / "out")
    lesions = json.loads((tmp_path / "studies" / "phantoms.json").read_text())
    assert lesions and len(rows) % 3 == 0
    assert [row["clicks"] for row in rows[:3]] == ["0", "1", "box"]
    assert [float(row["dice"]) for row in rows[::3]] == [0.0] * (len(rows) // 3)
    assert all(float(row["dice"]) > 0 for row in rows[1::3])
