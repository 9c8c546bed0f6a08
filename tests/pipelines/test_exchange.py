"""A study from an archive, and what was made of it back into it, by the command line."""

import csv
import json
import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from pydicom import dcmread
from tests.apps.server_process import free_port
from tests.dicomweb.bad_archives import answers, archive_that, closes, is_silent, one_by_one
from tests.dicomweb.store_process import store_process
from tests.inference.ultrasound_weights import chain_weights
from tests.pipelines.test_mri import box_of
from tests.pipelines.test_mri_odd_studies import write_study

from breastkit import cli
from breastkit.dicom.read_seg import read_segmentation
from breastkit.dicom.write_us import write_us_dicom
from breastkit.dicomweb import archive as archives
from breastkit.dicomweb.archive import Archive
from breastkit.errors import PartlyDoneError
from breastkit.images import write_png
from breastkit.pipelines.cohort import run_study
from breastkit.pipelines.cohort_studies import studies_of_table
from breastkit.pipelines.mri import MriNetworks, run_mri
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


def receipt_in(out):
    return json.loads((out / "run.json").read_text())["pushed"]


def failures_in(out):
    with (out / "failures.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def texts_below(folder):
    return {path: path.read_text() for path in folder.rglob("*") if path.suffix in (".csv", ".json", ".html")}


def test_a_study_is_pulled_and_its_findings_are_pushed(clips, archive, weights, tmp_path, capfd):
    study, out = uid_of(clips[0]), tmp_path / "out"
    words = ["--pull", archive, "--study", study, "--push", archive, "--out", out, *FAST, *weights]
    assert run(*words) == 0
    files = sorted((out / "dicom").glob("*.dcm"))
    assert len(files) == 2
    receipt = receipt_in(out)
    assert receipt == {
        "archive": archive,
        "problem": "",
        "objects": [
            {"file": path.name, "sop_instance_uid": uid_of(path, "SOPInstanceUID"), "problem": ""} for path in files
        ],
    }
    listed = requests.get(f"{archive}/instances?StudyInstanceUID={study}").json()
    modalities = sorted(one["00080060"]["Value"][0] for one in listed)
    assert modalities == ["SEG", "SR", "US"]
    (segment,) = read_segmentation(files[1], clips[0])
    assert segment.mask.all()
    steps = [one["name"] for one in json.loads((out / "run.json").read_text())["steps"]]
    assert (steps[0], steps[-1]) == ("fetch", "push")
    # Once more: what is ours is left aside, and the archive has got it already.
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "run.json"}
    assert len(before) == 3
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
        assert receipt_in(out / name)["archive"] == archive
        assert len(requests.get(f"{archive}/instances?StudyInstanceUID={uid_of(clip)}").json()) == 3
    assert not (out / "gone").exists()
    assert not [path for path, text in texts_below(out).items() if "breastkit-temporary" in text]


def test_a_cohort_sends_again_what_an_archive_refused_and_computes_nothing_again(clips, weights, tmp_path, capfd):
    (tmp_path / "studies.csv").write_text("study,path\n" + "".join(f"{path.stem},{path}\n" for path in clips))
    out, forbidden = tmp_path / "out", answers(403)
    archive_is = [one_by_one(answers(200, {}), answers(200, {}), forbidden)]
    words = ["--cases", tmp_path / "studies.csv", "--out", out, "--workers", "1", *FAST, *weights]
    with archive_that(lambda handler, number: archive_is[0](handler, number)) as (address, asked):
        assert run(*words, "--push", address) == 3
        (failure,) = failures_in(out)
        assert failure["study"] == "P2"
        assert failure["problem"] == (
            f"{address} did not take P2_report.dcm: it forbids this user to do so (HTTP status 403); 0 of 2 objects "
            f"are stored there, all are kept in {out.absolute() / 'P2' / 'dicom'}, and the same command sends them "
            "again."
        )
        made = {path: path.stat().st_mtime_ns for path in out.glob("P*/*") if path.name != "run.json"}
        started = json.loads((out / "P2" / "run.json").read_text())["started"]
        archive_is[0], before = answers(200, {}), len(asked)
        assert run(*words, "--push", address) == 0
    assert (failures_in(out), len(asked) - before) == ([], 2)
    assert "Done already: 1 of 2 studies." in capfd.readouterr().err
    record = json.loads((out / "P2" / "run.json").read_text())
    assert (record["pushed"]["problem"], record["started"]) == ("", started)
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.fixture(scope="module")
def mri_study(tmp_path_factory):
    """An MRI study with the box of its lesion, and the networks, opened once."""
    folder = tmp_path_factory.mktemp("mri")
    mask = write_study(folder / "study")
    boxes = folder / "given_boxes.json"
    boxes.write_text(json.dumps({"shape": mask.shape, "lesions": [{"score": 0.7, **box_of(mask)}]}))
    return {"study": str(folder / "study"), "boxes": str(boxes), "networks": MriNetworks.opened(detects=False)}


def slowly(handler, number):
    """A request is answered late."""
    handler.ended.wait(0.2)
    answers(200, {})(handler, number)


def test_findings_of_an_mri_study_lie_in_the_archive_as_they_were_written(mri_study, tmp_path):
    out = tmp_path / "out"
    with store_process(Path(mri_study["study"]), tmp_path / "stored", largest_upload=2**24) as address:
        run_mri(**mri_study, out=str(out), formats="seg,sr,pdf", push=address)
        Archive(address).fetch_study(uid_of(out / "dicom" / "report.dcm"), tmp_path / "fetched")
    sent = {path.name: path for path in (out / "dicom").iterdir()}
    assert sorted(sent) == ["report.dcm", "report_pdf.dcm", "segmentation.dcm"]
    assert [one["file"] for one in receipt_in(out)["objects"]] == sorted(sent)
    for path in sent.values():
        assert dcmread(tmp_path / "fetched" / f"{uid_of(path, 'SOPInstanceUID')}.dcm") == dcmread(path)


@pytest.mark.parametrize(
    ("behave", "asked_for", "why"),
    [
        (answers(409, {"00081198": {"Value": [{"00081197": {"Value": [0x0122]}}]}}), 2, "it does not take objects of"),
        (answers(503), 5, "look at its log (HTTP status 503)"),
        (closes, 4, "it closed the connection in the middle"),
        (is_silent, 2, "it was silent for 0.5 seconds"),
        (slowly, 2, ""),
    ],
    ids=["refuses", "busy", "closes", "silent", "slow"],
)
def test_an_archive_that_does_not_take_an_mri_study(mri_study, tmp_path, monkeypatch, behave, asked_for, why):
    """What it did is said once; what was made is whole, and kept."""
    hurried = {"patience_s": 0.5, "backoff_s": 0.01}
    for name, seconds in hurried.items():
        monkeypatch.setitem(Archive.__init__.__kwdefaults__, name, seconds)
    out = tmp_path / "out"
    with (
        archive_that(behave) as (address, asked),
        pytest.raises(PartlyDoneError, match=re.escape(why)) if why else nullcontext(),
    ):
        run_mri(**mri_study, out=str(out), formats="csv,seg,sr", push=address)
    assert len(asked) >= asked_for
    assert bool(receipt_in(out)["problem"]) == bool(why)
    assert len(list((out / "dicom").glob("*.dcm"))) == 2
    assert (out / "lesions.csv").is_file()


def test_a_table_of_an_archive_without_one_and_with_what_is_no_identifier(weights, tmp_path, capfd):
    (tmp_path / "studies.csv").write_text("uid\n1..2\n")
    words = ["--cases", tmp_path / "studies.csv", "--out", tmp_path / "out", *weights]
    assert run(*words) == 2
    assert "names studies of an archive in its column 'uid'; give its address with --pull" in capfd.readouterr().err
    assert run(*words, "--pull", "http://127.0.0.1:1/x/") == 3
    (failure,) = failures_in(tmp_path / "out")
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
    problems = [one["problem"] for one in receipt_in(out)["objects"]]
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
    assert receipt_in(out)["objects"] == []


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
    assert "There is no DICOM object to store in http://127.0.0.1:1; run on DICOM" in capfd.readouterr().err
    assert (out / "results.csv").is_file()
