"""breastkit run us: files and table for every picture, bad ones named, one page."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.inference.ultrasound_weights import chain_weights, segmenter_weights

from breastkit import cli
from breastkit.bundle import Bundle
from breastkit.cases import write_cases
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError, UsageError
from breastkit.images import write_png
from breastkit.inference.picture_quality import REMARKS
from breastkit.pipelines import ULTRASOUND
from breastkit.pipelines.ultrasound import run_ultrasound
from breastkit.promotion import promote
from breastkit.weights import read_model_json

COLUMNS = (
    "file,class,p_normal,p_benign,p_malignant,uncertainty,abstain,lesion_area_px,mask,suspicious,unfamiliar,quality"
)
GRAY = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return chain_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def nothing(weights, tmp_path_factory):
    return weights | {"segmenter": str(segmenter_weights(tmp_path_factory.mktemp("none"), everything=False))}


def options(words):
    return [f"--{name.replace('_', '-')}={value}" for name, value in words.items()]


@pytest.fixture(scope="module")
def ran(weights, tmp_path_factory):
    """The outputs of a folder with a picture, a clip and bad files, run as a user runs it."""
    root = tmp_path_factory.mktemp("with spaces")
    folder = root / "in put"
    write_png(folder / "benign (1).png", GRAY)
    write_us_dicom(folder / "clip.dcm", np.stack([GRAY, GRAY[::-1]]), spacing=0.1, patient="P", uid_seed="0")
    (folder / "cut.png").write_bytes((folder / "benign (1).png").read_bytes()[:60])
    (folder / "notes.txt").write_text("")
    write_png(folder / "benign (1)_mask.png", GRAY)
    code = cli.main(["run", "us", str(folder), "--out", str(root / "out"), *options(weights)])
    return root / "out", code


def rows(folder):
    return list(csv.DictReader((folder / "results.csv").open()))


def test_one_row_a_picture_and_frame(ran):
    out, _ = ran
    assert (out / "results.csv").read_text().splitlines()[0] == COLUMNS
    table = rows(out)
    assert [row["file"] for row in table] == ["benign (1).png", "clip.dcm#frame1", "clip.dcm#frame2"]
    for row in table:
        probabilities = [float(row[f"p_{name}"]) for name in ("normal", "benign", "malignant")]
        assert probabilities == pytest.approx([0.25, 0.15, 0.6], abs=1e-3)
        assert sum(probabilities) == pytest.approx(1, abs=1e-9)
        assert (row["class"], row["abstain"], row["lesion_area_px"]) == ("malignant", "0", str(24 * 40))
        assert 0 <= float(row["uncertainty"]) <= 1
        assert cv2.imread(str(out / row["mask"]), cv2.IMREAD_UNCHANGED).shape == (24, 40)


def test_bad_pictures_are_named_and_the_others_done(ran, capsys):
    out, code = ran
    assert code == 1
    problems = {row["input"]: row["problem"] for row in csv.DictReader((out / "problems.csv").open())}
    assert set(problems) == {"cut.png", "notes.txt", "benign (1)_mask.png"}
    assert re.search(r"cut\.png is damaged or not a picture", problems["cut.png"])


def test_every_picture_has_its_files(ran):
    out, _ = ran
    pictures = json.loads((out / "findings.json").read_text())["pictures"]
    found = {Path(each["files"]["mask"]).name.removesuffix("_mask.png"): each for each in pictures}
    for name in ("benign (1)", "clip_frame1", "clip_frame2"):
        for kind in ("mask", "overlay", "explanation"):
            assert cv2.imread(str(out / f"{name}_{kind}.png"), cv2.IMREAD_UNCHANGED).shape[:2] == (24, 40)
        told = found[name]
        assert told["class"] == "malignant"
        assert told["decided_by"] == "fusion"
        assert told["probabilities"]["malignant"] == pytest.approx(0.6, abs=1e-3)
        assert told["lesion"]["area_px"] == 24 * 40
        assert told["lesion"]["x_max"] == 39
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_one_page_shows_all_and_needs_no_network(ran):
    page = (ran[0] / "report.html").read_text()
    assert "For research, not for diagnosis." in page
    for words in ("benign (1).png", "clip.dcm#frame2", "60.0\u202f%", "cut.png is damaged"):
        assert words in page
    assert page.count("data:image/jpeg") == 9
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_without_a_lesion_the_report_says_who_decided(nothing, tmp_path):
    write_png(tmp_path / "x.png", GRAY)
    run_ultrasound(str(tmp_path / "x.png"), out=str(tmp_path / "out"), explanation=False, **nothing)
    (row,) = rows(tmp_path / "out")
    assert (row["class"], row["lesion_area_px"], row["abstain"]) == ("benign", "0", "1")
    # 0.3 does not reach the operating point 0.35 of the variant that decides.
    assert row["suspicious"] == "0"
    assert [float(row[f"p_{name}"]) for name in ("normal", "benign", "malignant")] == [0.25, 0.45, 0.3]
    assert not cv2.imread(str(tmp_path / "out" / row["mask"]), cv2.IMREAD_UNCHANGED).any()
    said = "No lesion was outlined, so the class is that of mask_aware, the variant that can say normal."
    (told,) = json.loads((tmp_path / "out" / "findings.json").read_text())["pictures"]
    assert told["doubts"] == [said, REMARKS["too_small"], REMARKS["overlays"]]
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "x_explanation.png").exists()


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("nowhere", "out", "does not exist"),
        ("empty", "out", "holds nothing to run on"),
        ("in", "in", "holds the pictures themselves"),
        ("twins", "out", "outputs of the same name"),
        ("blank", "out", "of one gray value throughout"),
        ("bad", "out", "is damaged or not a picture"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(weights, tmp_path, source, out, words):
    (tmp_path / "empty").mkdir()
    write_png(tmp_path / "in" / "x.png", GRAY)
    for name in ("x.png", "x.bmp"):
        write_png(tmp_path / "twins" / name, GRAY)
    write_png(tmp_path / "blank" / "x.png", np.zeros_like(GRAY))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no picture")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BreastkitError, match=words):
        run_ultrasound(str(tmp_path / source), out=str(tmp_path / out), **weights)
    written = [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.is_file()]
    assert not written


def test_sub_folders_are_looked_into_where_the_folder_has_no_picture(weights, tmp_path):
    """The layout of the phantoms and of BUSI; objects of pictures refer to images that are made of them."""
    for name in ("benign", "malignant"):
        write_png(tmp_path / "set" / name / f"{name} (1).png", GRAY)
        write_png(tmp_path / "set" / name / f"{name} (1)_mask.png", GRAY)
    (tmp_path / "set" / "truth.json").write_text("{}")
    words = ["run", "us", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--formats", "seg,sr,pdf,csv"]
    assert cli.main([*words, "--no-explanation", *options(weights)]) == 0
    assert [row["file"] for row in rows(tmp_path / "out")] == ["benign (1).png", "malignant (1).png"]
    kinds = ("image", "report", "report_pdf", "segmentation")
    expected = [f"{name} (1)_{kind}.dcm" for name in ("benign", "malignant") for kind in kinds]
    assert sorted(path.name for path in (tmp_path / "out" / "dicom").iterdir()) == expected
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    written = {each["file"] for each in record["written"]}
    assert {f"dicom/{name}" for name in expected} | {"report.pdf", "results.csv"} <= written
    twin = write_png(tmp_path / "set" / "malignant" / "benign (1).png", GRAY)
    with pytest.raises(BreastkitError, match="would write outputs of the same name"):
        run_ultrasound(str(tmp_path / "set"), out=str(tmp_path / "twins"), **weights)
    twin.unlink()


def test_objects_of_ours_among_the_input_are_left_aside(weights, tmp_path, capsys):
    write_us_dicom(tmp_path / "in" / "x.dcm", GRAY, spacing=0.1, patient="P", uid_seed="0")
    given = {"explanation": False, "formats": "seg,sr,pdf,sc", **weights}
    run_ultrasound(str(tmp_path / "in"), out=str(tmp_path / "out"), **given)
    for path in (tmp_path / "out" / "dicom").iterdir():
        path.rename(tmp_path / "in" / path.name)
    run_ultrasound(str(tmp_path / "in"), out=str(tmp_path / "again"), **given)
    record = json.loads((tmp_path / "again" / "run.json").read_text())
    assert [each["file"] for each in record["inputs"]] == ["x.dcm"]
    assert {each["name"]: each["reason"].split(",")[0] for each in record["skipped"]} == {
        "x_overlay.dcm": "an output of an earlier run",
        "x_report.dcm": "Comprehensive 3D SR Storage",
        "x_report_pdf.dcm": "Encapsulated PDF Storage",
        "x_segmentation.dcm": "Segmentation Storage",
    }
    assert "Left aside: x_segmentation.dcm: Segmentation Storage" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said_before_any_work(tmp_path):
    write_png(tmp_path / "x.png", GRAY)
    (tmp_path / "file").touch()
    with pytest.raises(BreastkitError, match=r"file/out could not be written: a file stands where a folder is needed"):
        run_ultrasound(str(tmp_path / "x.png"), out=str(tmp_path / "file" / "out"), classifier="nowhere")


def test_what_was_found_is_printed_for_programs(ran, weights, tmp_path, capsys):
    clip = ran[0].parent / "in put" / "clip.dcm"
    given = ["--formats", "csv", "--json", *options(weights)]
    assert cli.main(["run", "us", str(clip), "--out", str(tmp_path / "out"), *given]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [picture["file"] for picture in printed["pictures"]] == ["clip.dcm#frame1", "clip.dcm#frame2"]
    assert cli.main(["run", "us", str(clip.parent), "--cohort", "--json", "--out", str(tmp_path / "cohort")]) == 2


def test_missing_weights_are_a_sentence(weights, tmp_path):
    write_png(tmp_path / "x.png", GRAY)
    with pytest.raises(BreastkitError, match=r"nowhere.* does not exist"):
        run_ultrasound(str(tmp_path / "x.png"), out=str(tmp_path / "out"), **weights | {"classifier": "nowhere"})
    assert not (tmp_path / "out").exists()


def test_promoted_weights_are_used_until_others_are_named(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("BREASTKIT_MODELS", str(tmp_path / "promoted"))
    classifier = Bundle(ULTRASOUND)
    segmenter = classifier.used("segmenter")
    for bundle, part in ((classifier, "classifier"), (segmenter, "segmenter")):
        promote(bundle, Path(weights[part]).parent, figures={})
    write_png(tmp_path / "in" / "a.png", GRAY)

    def models(**named):
        fixed = {name: weights[name] for name in ("normal_classifier", "backend")}
        run_ultrasound(str(tmp_path / "in"), out=str(tmp_path / "out"), explanation=False, **fixed, **named)
        facts = json.loads((tmp_path / "out" / "findings.json").read_text())["models"]
        return {each["role"]: each["sha256"] for each in facts if each["role"] != "normal_classifier"}

    expected = {name: read_model_json(weights[name])["sha256"] for name in ("segmenter", "classifier")}
    assert models() == expected
    shipped = read_model_json(segmenter.shipped_weights)["sha256"]
    assert models(segmenter=str(segmenter.shipped_weights)) == expected | {"segmenter": shipped}


@pytest.fixture
def views(tmp_path):
    """Four pictures of two lesions and one of a third, in a prepared folder."""
    for name in ("a1", "a2", "b1", "b2", "c"):
        write_png(tmp_path / "set" / "images" / f"{name}.png", GRAY)
    lists = {"training": [], "validation": [], "test": []}
    for name in ("a1", "a2", "b1", "b2"):
        lists["test"].append({"image": str(tmp_path / "set" / "images" / f"{name}.png"), "case": name[0]})
    write_cases(tmp_path / "set", lists)
    return tmp_path / "set" / "images"


def test_all_views_of_a_case_give_one_answer(views, weights, tmp_path):
    words = options(weights)
    assert cli.main(["run", "us", str(views), "--by", "case", "--out", str(tmp_path / "out"), *words]) == 0
    cases = list(csv.DictReader((tmp_path / "out" / "cases.csv").open()))
    assert [(row["case"], row["pictures"], row["files"]) for row in cases] == [
        ("a", "2", "a1.png;a2.png"),
        ("b", "2", "b1.png;b2.png"),
    ]
    # All views are read alike here.
    assert {(row["class"], row["suspicious"], row["disagreement"]) for row in cases} == {("malignant", "1", "0.0")}
    assert len(rows(tmp_path / "out")) == 5
    assert '<section id="cases">' in (tmp_path / "out" / "report.html").read_text()
    found = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [picture["case"] for picture in found["pictures"]] == ["a", "a", "b", "b", None]
    assert [case["case"] for case in found["cases"]] == ["a", "b"]


def test_a_table_may_say_what_belongs_together(views, weights, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("file,case\na1.png,one\nc.png,one\n")
    given = {"by": "case", "formats": "csv", "explanation": False, **weights}
    run_ultrasound(str(views), out=str(tmp_path / "out"), cases=str(table), **given)
    (row,) = csv.DictReader((tmp_path / "out" / "cases.csv").open())
    assert (row["case"], row["files"]) == ("one", "a1.png;c.png")
    table.write_text("picture,patient\n")
    with pytest.raises(BreastkitError, match="needs the columns file and case"):
        run_ultrasound(str(views), out=str(tmp_path / "out"), cases=str(table), **given)
    (views.parent / "dataset.json").unlink()
    with pytest.raises(BreastkitError, match="nothing says which pictures are of one case"):
        run_ultrasound(str(views), out=str(tmp_path / "out"), **given)
    with pytest.raises(UsageError, match="--by takes case alone"):
        run_ultrasound(str(views), out=str(tmp_path / "out"), by="patient", **weights)
