"""A study from an archive, and what was made of it back into it, by the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from tests.apps.server_process import free_port
from tests.dicomweb.bad_archives import answers, archive_that
from tests.dicomweb.store_process import store_process
from tests.inference.ultrasound_weights import chain_weights

from breastkit import cli
from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.write_us import write_us_dicom
from breastkit.dicomweb import archive as archives
from breastkit.images import write_png
from breastkit.pipelines.cohort import run_study
from breastkit.pipelines.cohort_studies import studies_of_table
from breastkit.pipelines.ultrasound import UltrasoundStudies

FAST = ["--no-explanation", "--formats", "csv,seg,sr"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two studies, of two frames each."""
    folder = tmp_path_factory.mktemp("clips")
    noise = np.random.default_rng(0).integers(0, 256, (2, 24, 40), dtype=np.uint8)
    return [
        write_us_dicom(folder / f"{name}.dcm", noise, spacing=0.5, patient=name, uid_seed=name) for name in ("P1", "P2")
    ]


@pytest.fixture
def archive(clips, tmp_path):
    with store_process(clips[0].parent, tmp_path / "stored", largest_upload=2**24) as address:
        yield address


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return chain_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def weights(chain):
    return [f"--{name.replace('_', '-')}={value}" for name, value in chain.items()]


def uid_of(path, name="StudyInstanceUID"):
    return str(pydicom.dcmread(path)[name].value)


def run(*words):
    return cli.main(["run", "us", *map(str, words)])


def texts_below(folder):
    return {path: path.read_text() for path in folder.rglob("*") if path.suffix in (".csv", ".json", ".html")}


def test_a_study_is_pulled_and_its_findings_are_pushed(clips, archive, weights, tmp_path, capfd):
    study, out = uid_of(clips[0]), tmp_path / "out"
    words = ["--pull", archive, "--study", study, "--push", archive, "--out", out, *FAST, *weights]
    assert run(*words) == 0
    files = sorted((out / "dicom").glob("*.dcm"))
    assert len(files) == 2
    receipt = json.loads((out / "dicom" / "receipt.json").read_text())
    assert receipt == {
        "archive": archive,
        "objects": [
            {"file": path.name, "sop_instance_uid": uid_of(path, "SOPInstanceUID"), "problem": ""} for path in files
        ],
    }
    listed = requests.get(f"{archive}/instances?StudyInstanceUID={study}").json()
    modalities = sorted(one["00080060"]["Value"][0] for one in listed)
    assert modalities == ["SEG", "SR", "US"]
    (segment,) = read_segmentation(files[1], clips[0])
    assert segment.mask.all()
    # Once more: what is ours is left aside, and the archive has got it already.
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "run.json"}
    assert len(before) == 4
    assert json.loads((out / "run.json").read_text())["pushed"] == receipt
    capfd.readouterr()
    assert run(*words) == 0
    told = capfd.readouterr().err
    assert "Left aside: " in told
    assert {path: path.read_bytes() for path in before} == before
    assert len((out / "problems.csv").read_text().splitlines()) == 3
    # Where the copy of the study lay says nothing to anybody, and it is gone.
    assert not [path for path, text in texts_below(out).items() if "breastkit-temporary" in text]
    assert "breastkit-temporary" not in told


def test_studies_of_a_table_are_pulled_one_by_one(clips, archive, chain, tmp_path):
    (tmp_path / "studies.csv").write_text(f"study,uid\nfirst,{uid_of(clips[0])}\n,{uid_of(clips[1])}\ngone,1.2.3\n")
    out, nothing = tmp_path / "out", {"calibration": None, "precision": "f32", "by": None, "cases": None}
    pipeline = UltrasoundStudies.of(**chain, **nothing, explanation=False, formats="seg,sr", push=archive)
    studies = studies_of_table(str(tmp_path / "studies.csv"), archive=archive)
    assert [study.name for study in studies] == ["first", uid_of(clips[1]), "gone"]
    problems = [run_study(pipeline, out, study) for study in studies]
    assert problems == ["", "", f"{archive} has no study 1.2.3; check the identifier."]
    for name, clip in zip(("first", uid_of(clips[1])), clips, strict=True):
        assert json.loads((out / name / "dicom" / "receipt.json").read_text())["archive"] == archive
        assert len(requests.get(f"{archive}/instances?StudyInstanceUID={uid_of(clip)}").json()) == 3
    assert not (out / "gone").exists()
    assert not [path for path, text in texts_below(out).items() if "breastkit-temporary" in text]


def test_a_table_of_an_archive_without_one_and_with_what_is_no_identifier(weights, tmp_path, capfd):
    (tmp_path / "studies.csv").write_text("uid\n1..2\n")
    words = ["--cases", tmp_path / "studies.csv", "--out", tmp_path / "out", *weights]
    assert run(*words) == 2
    assert "names studies of an archive in its column 'uid'; give its address with --pull" in capfd.readouterr().err
    assert run(*words, "--pull", "http://127.0.0.1:1/x/") == 3
    with (tmp_path / "out" / "failures.csv").open(newline="") as stream:
        (failure,) = csv.DictReader(stream)
    assert failure["path"] == "http://127.0.0.1:1/x/studies/1..2"
    assert failure["problem"] == "'1..2' is no identifier of a study; give a StudyInstanceUID."


def test_what_an_archive_refuses_is_kept_and_said(clips, weights, tmp_path, capfd):
    out = tmp_path / "out"
    full = {"00081198": {"Value": [{"00081197": {"Value": [0xA700]}}]}}
    with archive_that(answers(409, full)) as (address, asked):
        assert run(clips[0], "--push", address, "--out", out, *FAST, *weights) == 1
    assert len(asked) == 2
    told = capfd.readouterr().err.splitlines()[-1]
    assert told == (
        f"{address} did not take P1_report.dcm: it has no room (reason A700); 0 of 2 objects are stored there, all are "
        f"kept in {out / 'dicom'}, and the same command sends them again."
    )
    problems = [one["problem"] for one in json.loads((out / "dicom" / "receipt.json").read_text())["objects"]]
    assert problems == 2 * ["it has no room (reason A700)"]
    assert (out / "results.csv").is_file()
    assert len(list((out / "dicom").glob("*.dcm"))) == 2


def test_an_archive_that_is_gone_is_not_asked_for_every_object(clips, weights, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(archives, "_TRIES", 1)
    address = f"http://127.0.0.1:{free_port()}"
    out = tmp_path / "out"
    assert run(clips[0], "--push", address, "--out", out, *FAST, *weights) == 1
    told = capfd.readouterr().err.splitlines()[-1]
    assert told.startswith(f"{address} did not take P1_report.dcm: it cannot be reached; start it, or correct the")
    assert json.loads((out / "dicom" / "receipt.json").read_text())["objects"] == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("--pull http://pacs", 2, "--pull fetches one study; name its StudyInstanceUID with --study, or several"),
        ("--pull pacs --study 1.2", 2, "'pacs' is no address of DICOMweb; give one such as"),
        ("--push pacs x", 2, "'pacs' is no address of DICOMweb; give one such as"),
        ("--study 1.2", 2, "--study names one study of the archive that --pull names; give both, and no folder."),
        ("x --pull http://pacs --study 1.2", 2, "--study names one study of the archive that --pull names"),
        ("--pull http://pacs --study 1..2", 2, "'1..2' is no identifier of a study; give a StudyInstanceUID"),
        ("x --cohort --pull http://pacs", 2, "--pull fetches the studies of a table with --cases, or one with --study"),
    ],
)
def test_wrong_usage_is_one_sentence(words, code, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    assert run(*words.split(), "--out", "out") == code
    assert capsys.readouterr().err.startswith(sentence)
    assert not Path("out").exists()


def test_pictures_make_no_object_to_push(weights, tmp_path, capfd):
    write_png(tmp_path / "x.png", np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8))
    out = tmp_path / "out"
    words = [tmp_path / "x.png", "--out", out, "--no-explanation", "--push", "http://127.0.0.1:1", *weights]
    assert run(*words, "--formats", "csv") == 1
    assert "has no DICOM object to store in http://127.0.0.1:1; run on DICOM" in capfd.readouterr().err
    assert (out / "results.csv").is_file()
