"""Many studies at a time: what is written, what is done again, and what one bad study may not do to the others."""

import csv
import json
import os
import shutil
import signal
from dataclasses import dataclass

import numpy as np
import pytest
from tests.bundles.tiny import tiny_studies
from tests.inference.ultrasound_weights import chain_weights
from tests.test_bad_input import in_a_mount

from breastkit import cli
from breastkit.errors import SomeFailedError
from breastkit.images import write_png
from breastkit.pipelines.cohort import run_cohort
from breastkit.pipelines.cohort_studies import Study, shard_of, studies_of_table
from breastkit.pipelines.ultrasound import UltrasoundStudies

GRAY = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)

OTHERS = {"precision": "f32", "calibration": None, "by": None, "cases": None}


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def contents(folder):
    """Every file below a folder but those of the cohort as a whole; of records of runs what does not tell times."""
    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*/*") if path.is_file()}


def content(path):
    if path.name != "run.json":
        return path.read_bytes()
    record = json.loads(path.read_text())
    assert record["written"] and record["inputs"]
    return {name: value for name, value in record.items() if name not in ("started", "seconds", "steps")}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three MRI studies and a broken one, run two at a time."""
    root = tmp_path_factory.mktemp("cohort")
    studies = tiny_studies(root / "tiny", cases=4) / "images"
    broken = max((studies / "DUKE_003").iterdir())
    broken.rename(root / broken.name)
    (studies / "notes").mkdir()
    (studies / "notes" / "protocol.txt").write_text("3 T")
    (studies / "list.txt").write_text("")
    code = cli.main(["run", "mri", str(studies), "--cohort", "--out", str(root / "out"), "--workers", "2"])
    return studies, root / "out", root / broken.name, code


def test_a_broken_study_is_told_and_passed_over(cohort):
    studies, out, _, code = cohort
    assert code == 3
    (failure,) = table(out / "failures.csv")
    assert (failure["study"], failure["path"]) == ("DUKE_003", str(studies / "DUKE_003"))
    assert "the first one after it are needed" in failure["problem"]
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        "DUKE_001", "DUKE_002", "DUKE_004", "cohort.json", "failures.csv", "index.html", "summary.csv",
    ]  # fmt: skip
    assert not list(out.glob(".writing-*"))


def test_the_summary_has_a_row_for_each_study_and_lesion(cohort):
    _, out, _, _ = cohort
    rows = table(out / "summary.csv")
    assert [row["study"] for row in rows if row["row"] == "study"] == ["DUKE_001", "DUKE_002", "DUKE_004"]
    for name in ("DUKE_001", "DUKE_002", "DUKE_004"):
        own = [row for row in rows if row["study"] == name]
        lesions = table(out / name / "lesions.csv")
        assert int(own[0]["lesions"]) == len(lesions) == len(own) - 1
        for row, lesion in zip(own[1:], lesions, strict=True):
            assert (row["row"], {column: row[column] for column in lesion}) == ("lesion", lesion)


def test_the_page_leads_to_every_study(cohort):
    _, out, _, _ = cohort
    page = (out / "index.html").read_text()
    for name in ("DUKE_001", "DUKE_002", "DUKE_004"):
        assert f'href="{name}/' in page
        assert f'src="{name}/thumbnail.png"' in page
        assert (out / name / "thumbnail.png").is_file()
    assert "<strong>DUKE_003</strong>" in page


def test_going_on_runs_what_is_missing_alone_and_gives_the_same_one_at_a_time(cohort, tmp_path, capfd):
    """In two shards besides, of which the first leaves the study that failed to the second."""
    studies, first, lost, _ = cohort
    out = tmp_path / "out"
    shutil.copytree(first, out)
    before = contents(out)
    shutil.rmtree(out / "DUKE_002")
    (studies / "DUKE_003").joinpath(lost.name).write_bytes(lost.read_bytes())
    kept = {name: (out / name).stat().st_mtime_ns for name in ("DUKE_001", "DUKE_004")}
    words = ["run", "mri", str(studies), "--cohort", "--out", str(out), "--workers", "1"]
    assert cli.main([*words, "--shard", "2/2"]) == 0
    assert "Done already: 1 of 2 studies." in capfd.readouterr().err
    assert [row["study"] for row in table(out / "failures.csv")] == ["DUKE_003"]
    assert cli.main([*words, "--shard", "1/2"]) == 0
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    assert table(out / "failures.csv") == []
    after = contents(out)
    assert {name: data for name, data in after.items() if "DUKE_003" not in name} == {
        name: data for name, data in before.items() if "DUKE_003" not in name
    }
    assert "DUKE_003/lesions.csv" in after


@pytest.fixture
def parts(cohort, tmp_path):
    """The cohort as two parts would have written it."""
    _, whole, _, _ = cohort
    for name, studies in (("one", ["DUKE_001", "DUKE_004"]), ("two", ["DUKE_002", ".failures"])):
        for study in studies:
            shutil.copytree(whole / study, tmp_path / name / study)
        shutil.copy(whole / "cohort.json", tmp_path / name)
    return tmp_path


def merge(*words):
    return cli.main(["cohort", "merge", *map(str, words)])


def test_merged_parts_are_the_whole(cohort, parts, capfd):
    _, whole, _, _ = cohort
    assert merge(parts / "one", parts / "two", "--out", parts / "all") == 3
    assert "Merged, but 1 study failed, see" in capfd.readouterr().err
    assert contents(parts / "all") == contents(whole)
    for name in ("summary.csv", "failures.csv", "index.html"):
        assert (parts / "all" / name).read_text() == (whole / name).read_text()
    assert (parts / "all/DUKE_002/lesions.csv").samefile(parts / "two/DUKE_002/lesions.csv")


def test_what_another_part_has_done_is_no_failure(parts, capfd):
    shutil.copytree(parts / "one" / "DUKE_001", parts / "three" / "DUKE_003")
    shutil.copy(parts / "one" / "cohort.json", parts / "three")
    assert merge(parts / "one", parts / "two", parts / "three", "--out", parts / "two") == 0
    assert table(parts / "two" / "failures.csv") == []
    assert len(list((parts / "two").glob("*/lesions.csv"))) == 4


def test_what_lies_in_two_parts_and_what_is_missing_is_told(parts, capfd):
    shutil.rmtree(parts / "two" / ".failures")
    shutil.copytree(parts / "one" / "DUKE_001", parts / "two" / "DUKE_001")
    assert merge(parts / "one", parts / "two", "--out", parts / "all") == 3
    errors = capfd.readouterr().err
    assert "1 study failed" in errors
    assert "1 study is missing, run the part that has it" in errors
    (failure,) = table(parts / "all" / "failures.csv")
    assert failure["study"] == "DUKE_001"
    assert "are two results of one name" in failure["problem"]
    assert sorted(path.parent.name for path in (parts / "all").glob("*/lesions.csv")) == ["DUKE_002", "DUKE_004"]


def test_parts_of_other_settings_are_not_merged(parts, capfd):
    settings = json.loads((parts / "two" / "cohort.json").read_text())
    settings["weights"]["detector"] = "0" * 64
    (parts / "two" / "cohort.json").write_text(json.dumps(settings))
    for words, sentence in (
        ((parts / "one", parts / "two"), "made with other weights (detector 0000"),
        ((parts / "one", parts), "has no cohort.json, so it is no cohort"),
    ):
        assert merge(*words, "--out", parts / "all") == 1
        assert sentence in capfd.readouterr().err
        assert not (parts / "all").exists()


def test_other_settings_are_not_mixed_in(cohort, tmp_path, capfd):
    studies, out, _, _ = cohort
    before = contents(out)
    assert cli.main(["run", "mri", str(studies), "--cohort", "--out", str(out), "--most", "2"]) == 1
    assert "made with other options (most 4, now 2); name another folder" in capfd.readouterr().err
    assert contents(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    assert cli.main(["run", "mri", str(studies), "--cohort", "--out", str(tmp_path / "mine")]) == 1
    assert "holds other things than a cohort" in capfd.readouterr().err
    assert cli.main(["run", "mri", str(studies), "--cohort", "--out", str(studies / "out")]) == 1
    assert "would be taken as a study" in capfd.readouterr().err
    assert not (studies / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("x --shard 1/2", "--shard belongs to a cohort; add --cohort or --cases, or leave it out."),
        ("x --engine ray", "--engine belongs to a cohort; add --cohort or --cases, or leave it out."),
        ("x --cohort --address 1", "--address is that of a Ray cluster; add --engine ray, or leave it out."),
        ("x --cohort --workers 0", "--workers takes a whole number from 1 up, not 0."),
        ("x --cohort --shard 3/2", "--shard takes a part and the number of parts, for example 1/4, not '3/2'."),
        (
            "x --cohort --cases y.csv",
            "A cohort is a folder with --cohort or a table with --cases; give one of the two.",
        ),
        ("x --cohort --boxes b.json", "--boxes belongs to one study and cannot be used for a cohort; leave it out."),
        ("", "Name what to run on, or a table of studies with --cases."),
    ],
)
def test_wrong_usage_is_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x" / "a").mkdir(parents=True)
    assert cli.main(["run", "mri", *words.split(), "--out", "out"]) == 2
    assert capsys.readouterr().err == sentence + "\n"
    assert not (tmp_path / "out").exists()


def test_shards_are_all_the_studies_each_once():
    studies = [Study(f"{number}", f"/{number}") for number in range(11)]
    parts = [shard_of(studies, f"{number}/4") for number in range(1, 5)]
    assert sorted((study for part in parts for study in part), key=studies.index) == studies
    assert {len(part) for part in parts} == {2, 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("folder\na\n", "has no column 'path'"),
        ("path\n\n", "names no study"),
        ('path,study\na,b,c,d\n"', "cannot be read as a CSV file"),
        (None, "does not exist"),
    ],
)
def test_a_table_that_is_none(tmp_path, capfd, text, words):
    if text is not None:
        (tmp_path / "studies.csv").write_text(text)
    assert cli.main(["run", "us", "--cases", str(tmp_path / "studies.csv"), "--out", str(tmp_path / "out")]) == 1
    assert words in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_and_places_of_a_table(tmp_path):
    (tmp_path / "a").mkdir()
    text = "\ufeffpath, study\na,\nb/../a, second\npic.png,\n/abs/c, ../up\n"
    (tmp_path / "studies.csv").write_text(text)
    studies = studies_of_table(str(tmp_path / "studies.csv"))
    assert [(one.name, one.place) for one in studies] == [
        *(("a", str(tmp_path / "a")), ("second", str(tmp_path / "a"))),
        *(("pic", str(tmp_path / "pic.png")), ("../up", "/abs/c")),
    ]
    assert [bool(one.problem) for one in studies] == [False, False, False, True]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return chain_weights(tmp_path_factory.mktemp("weights"))


@dataclass(frozen=True)
class Devouring(UltrasoundStudies):
    """Ends as the system ends a process that takes too much memory, at one study."""

    def run(self, study, out, networks):
        if study.endswith("devours"):
            (out / "half.png").write_bytes(b"")
            os.kill(os.getpid(), signal.SIGKILL)
        super().run(study, out, networks)


def test_killed_by_memory_and_two_of_one_name_and_a_part_that_is_broken(weights, tmp_path):
    for place in ("one/devours", "one/twin", "two/twin", "one/good", "one/partly"):
        write_png(tmp_path / place / "picture.png", GRAY)
    (tmp_path / "one" / "partly" / "cut.png").write_bytes((tmp_path / "one" / "good" / "picture.png").read_bytes()[:60])
    places = ["one/devours", "one/twin", "two/twin", "one/good", "one/partly"]
    (tmp_path / "studies.csv").write_text("\n".join(["path", *places, ""]))
    pipeline = Devouring.of(**weights, **OTHERS, explanation=True, formats=None)
    out = tmp_path / "out"
    with pytest.raises(SomeFailedError, match="4 of 5 studies failed, the others are done"):
        run_cohort(pipeline, None, out=str(out), cases=str(tmp_path / "studies.csv"), workers=2)
    problems = [(row["study"], row["problem"]) for row in table(out / "failures.csv")]
    assert [name for name, _ in problems] == ["devours", "partly", "twin", "twin"]
    devours, partly, *twins = (problem for _, problem in problems)
    assert "needed more memory than there is, or its process was killed; run it with fewer --workers" in devours
    assert "1 of 2 pictures could not be used, the others are done" in partly
    assert all("are both called 'twin'; give each a name of its own" in twin for twin in twins)
    assert sorted(path.name for path in out.iterdir() if path.is_dir() and path.name[0] != ".") == ["good", "partly"]
    assert not list(out.glob(".writing-*"))
    rows = table(out / "summary.csv")
    assert [(row["study"], row["row"], row["pictures"], row["class"]) for row in rows] == [
        *(("good", "study", "1", "malignant"), ("good", "lesion", "", "malignant")),
        *(("partly", "study", "1", "malignant"), ("partly", "lesion", "", "malignant")),
    ]
    settings = json.loads((out / "cohort.json").read_text())
    assert (settings["pipeline"], settings["studies"], len(settings["weights"])) == ("us", 5, 3)


def test_a_disk_that_is_full_in_the_middle(weights, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (900, 900), dtype=np.uint8)
    for name, picture in (("a", GRAY), ("b", noise), ("c", GRAY)):
        write_png(tmp_path / "studies" / name / "picture.png", picture)
    (tmp_path / "small").mkdir()
    options = [f"--{name.replace('_', '-')}={value}" for name, value in weights.items()]
    words = ["run", "us", tmp_path / "studies", "--cohort", "--out", tmp_path / "small" / "out", "--workers", "1"]
    result = in_a_mount("size=600k", tmp_path / "small", *words, *options)
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    (failed,) = [line for line in result.stderr.splitlines() if line.strip().startswith("Failed: ")]
    assert "Failed: b: " in failed
    assert "no space is left on the device; free some or choose another output folder." in failed
    assert ".writing-" not in result.stdout + result.stderr
    listed = result.stdout.split()
    assert {"a", "c", "summary.csv", "failures.csv", "index.html"} <= set(listed)
    assert "b" not in listed
