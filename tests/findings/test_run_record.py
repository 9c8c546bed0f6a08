"""run.json: what was read, done and written, and that it is the same for the same input but for times."""

import hashlib
import json
import time

import pydicom
from tests.dicom.scans import AXIAL, affine_of, write_scan
from tests.findings.made_up import mri_findings

from breastkit.atomic import recorded_writes, write_text
from breastkit.dicom import list_series
from breastkit.findings.run_record import RunRecord

TIMES = ("started", "seconds", "steps")


def record_of(folder, sources, out, **settings):
    record = RunRecord("run mri", settings)
    with record.step("slow"):
        time.sleep(0.02)
    with record.step("slow"), record.step("within"):
        time.sleep(0.02)
    record.read(sources, [(folder / "notes.txt", "not a DICOM file")])
    with recorded_writes() as written:
        write_text(out / "sub" / "a.txt", "found")
        write_text(folder / "elsewhere.txt", "not of this run")
    findings = mri_findings()
    path = record.write(out, models=findings.models, doubts=findings.doubts, written=written, problems=["One."])
    return json.loads(path.read_text())


def test_inputs_are_named_by_identifiers_and_hashes(tmp_path):
    write_scan(tmp_path / "study" / "phase", affine_of(AXIAL))
    (tmp_path / "x.nii.gz").write_bytes(b"scan")
    dicom, file = record_of(tmp_path, [*list_series(tmp_path / "study"), tmp_path / "x.nii.gz"], tmp_path / "out")[
        "inputs"
    ]
    assert file == {"file": "x.nii.gz", "sha256": hashlib.sha256(b"scan").hexdigest()}
    expected = {
        str(pydicom.dcmread(path).SOPInstanceUID): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "study" / "phase").iterdir()
    }
    assert len(expected) == 7
    assert dicom["instances"] == expected
    assert dicom["folder"] == "phase"


def test_damaged_and_missing_inputs_are_told_too(tmp_path):
    (tmp_path / "x.dcm").write_bytes(128 * b"\0" + b"DICM" + b"damaged")
    damaged, missing = record_of(tmp_path, [tmp_path / "x.dcm", tmp_path / "none.png"], tmp_path / "out")["inputs"]
    assert list(damaged["instances"]) == ["x.dcm"]
    assert missing == {"file": "none.png", "sha256": None}


def test_steps_outputs_settings_and_what_is_doubtful(tmp_path):
    record = record_of(tmp_path, [], tmp_path / "out", most=4)
    assert record["settings"] == {"most": 4}
    slow, within = {step["name"]: step for step in record["steps"]}.values()
    assert 0.04 <= slow["seconds"] < 1
    assert within["peak_memory_mb"] > 10
    assert record["written"] == [{"file": "sub/a.txt", "bytes": 5, "sha256": hashlib.sha256(b"found").hexdigest()}]
    assert (record["doubts"], record["problems"]) == (["It is made up."], ["One."])
    assert record["skipped"] == [{"name": "notes.txt", "reason": "not a DICOM file"}]
    assert record["models"][0]["sha256"] == 64 * "a"
    assert record["versions"]["breastkit"]


def test_the_same_input_gives_the_same_record_but_for_times(tmp_path):
    (tmp_path / "x.nii.gz").write_bytes(b"scan")
    one, again = (record_of(tmp_path, [tmp_path / "x.nii.gz"], tmp_path / name) for name in ("one", "again"))
    for name in TIMES:
        del one[name], again[name]
    assert one == again
