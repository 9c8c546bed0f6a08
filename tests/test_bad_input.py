"""What users get wrong, at the command line: one sentence that names the file, no traceback, nothing half-written."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from breastkit import cli
from breastkit.cases import read_cases

CHECK = ["data", "check", "tissue"]
PREPARE = ["data", "prepare", "tissue"]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A small tissue folder, made once."""
    folder = tmp_path_factory.mktemp("bad_input") / "phantoms"
    assert cli.main(["data", "phantom", "mri", str(folder), "--cases", "9", "--size", "32", "--workers", "1"]) == 0
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A small ultrasound folder, made once."""
    folder = tmp_path_factory.mktemp("bad_input_us") / "pictures"
    assert cli.main(["data", "phantom", "us", str(folder), "--cases", "6", "--workers", "1"]) == 0
    return folder


@pytest.fixture
def tissue(phantoms, tmp_path):
    return Path(shutil.copytree(phantoms, tmp_path / "tissue"))


def scan_of(folder, case=2):
    return folder / "train" / "scans" / f"case_{case:03}.nii.gz"


def mask_of(folder, case=2):
    return folder / "train" / "masks" / f"case_{case:03}.nii.gz"


def run(capfd, *words):
    """Runs a command line in this process; worker processes write to the same captured file descriptors."""
    capfd.readouterr()
    code = cli.main([str(word) for word in words])
    text, errors = capfd.readouterr()
    assert "Traceback" not in text + errors
    return code, text, errors


def last_line(text):
    return text.strip().splitlines()[-1]


def save(path, array, affine=None):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def emptied(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text_named_nifti(path):
    path.write_text("This is no scan.\n" * 50)


def four_dimensional(path):
    save(path, np.random.default_rng(0).random((16, 16, 8, 3), dtype=np.float32))


def with_nans(path):
    image = nibabel.load(path)
    array = image.get_fdata(dtype=np.float32)
    array[3, 3, 3] = np.nan
    save(path, array, image.affine)


def zero_affine(path):
    """As some exporters write it: the header says that the affine counts, and the affine is zero."""
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[252:256] = (0).to_bytes(2, "little") + (1).to_bytes(2, "little")
    data[280:328] = bytes(48)
    path.write_bytes(gzip.compress(bytes(data)))


def other_values(path):
    image = nibabel.load(path)
    save(path, np.asarray(image.dataobj) * np.uint8(3), image.affine)


FAULTS = {
    emptied: "is empty",
    truncated: "is truncated",
    text_named_nifti: "is not a NIfTI file although it is named so",
    four_dimensional: "has 4 dimensions (16, 16, 8, 3), three are needed",
    with_nans: "holds NaN or infinite values",
    zero_affine: "has an affine without volume, so its position is unknown",
    other_values: "holds other values than 0 and 1 (0, 3…)",
}


def test_every_bad_file_is_named_and_the_others_are_finished(tissue, tmp_path, capfd):
    expected = {}
    for case, (fault, sentence) in enumerate(FAULTS.items(), start=1):
        path = (mask_of if fault is other_values else scan_of)(tissue, case)
        fault(path)
        expected[fault.__name__] = f"{path} {sentence}"
    # What people have: without compression, under a name that tells nothing.
    plain = scan_of(tissue, 3).with_name("case_003.nii")
    scan_of(tissue, 3).rename(plain)
    expected["text_named_nifti"] = expected["text_named_nifti"].replace(".nii.gz", ".nii")

    code, _, errors = run(capfd, *PREPARE, tissue, tmp_path / "out", "--workers", "1")
    assert code == 0
    assert "sizeof_hdr" not in errors
    lines = errors.splitlines()
    for name, beginning in expected.items():
        assert [line for line in lines if line.startswith(beginning)], f"{name}: {beginning}\n{errors}"
    cases = read_cases(tmp_path / "out")
    finished = {item["case"] for item in cases.training + cases.validation + cases.test}
    assert finished == {"8", "9", "10", "11", "12"}
    assert str(plain) in " ".join(cases.facts["problems"])
    assert not list(tmp_path.rglob(".writing-*"))


def test_check_names_bad_files_before_the_work(tissue, capfd):
    emptied(scan_of(tissue, 1))
    text_named_nifti(scan_of(tissue, 2))
    code, text, errors = run(capfd, *CHECK, tissue, "--workers", "1")
    assert code == 1
    for case, sentence in ((1, FAULTS[emptied]), (2, FAULTS[text_named_nifti])):
        assert f"{scan_of(tissue, case)} {sentence}" in text + errors


def test_a_missing_folder(tmp_path, capfd):
    code, text, errors = run(capfd, *PREPARE, tmp_path / "nowhere", tmp_path / "out")
    assert (code, text) == (1, "")
    assert str(tmp_path / "nowhere") in errors
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    code, text, errors = run(capfd, *PREPARE, tmp_path / "empty", tmp_path / "out")
    assert (code, text) == (1, "")
    assert str(tmp_path / "empty") in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["busi", "brain"])
@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_picture_sets_that_are_not_there(tmp_path, capfd, verb, kind):
    source = tmp_path / "source"
    if kind == "empty":
        source.mkdir()
    code, text, errors = run(capfd, "data", "prepare", verb, source, tmp_path / "out")
    assert (code, text) == (1, "")
    assert str(source) in last_line(errors)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", [emptied, truncated, text_named_nifti], ids=lambda fault: fault.__name__)
def test_a_bad_picture_is_left_out_and_named(pictures, tmp_path, capfd, fault):
    source = Path(shutil.copytree(pictures, tmp_path / "source"))
    bad = next((source / "benign").glob("benign (1).png"))
    fault(bad)
    code, text, _ = run(capfd, "data", "prepare", "busi", source, tmp_path / "out", "--workers", "1")
    assert code == 0
    case_list = Path(text.removeprefix("Written: ").strip())
    assert f"{bad} is {'empty' if fault is emptied else 'damaged'}" in case_list.read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "images" / "benign (1).png").exists()


def test_a_folder_that_is_a_file(tissue, tmp_path, capfd):
    (tmp_path / "out").write_text("in the way")
    code, _, errors = run(capfd, *PREPARE, tissue, tmp_path / "out")
    assert code == 1
    assert str(tmp_path / "out") in last_line(errors)
    assert "a file stands where a folder is needed; choose another output folder." in last_line(errors)


AWKWARD = "Brust (Kopie 1) für Ärzte, 5e3"


def test_an_awkward_name_simply_works(phantoms, pictures, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(phantoms, AWKWARD)
    assert run(capfd, *CHECK, AWKWARD, "--workers", "1")[0] == 0
    assert run(capfd, *PREPARE, AWKWARD, f"{AWKWARD} out", "--workers", "1")[0] == 0
    assert (Path(f"{AWKWARD} out") / "dataset.json").exists()
    shutil.copytree(pictures, f"{AWKWARD} us")
    assert run(capfd, "data", "prepare", "busi", f"{AWKWARD} us", f"{AWKWARD} busi", "--workers", "1")[0] == 0
    assert run(capfd, "data", "report", f"{AWKWARD} busi", "--workers", "1")[0] == 0


def in_a_mount(options, folder, *words):
    """Runs a command with a small file system of its own at `folder`, seen by that process alone.

    What is in it at the end, two levels deep, is what the command's output ends with.
    """
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" || exit 99; place=$2; shift 2; "$@"; code=$?; '
    script += 'ls -A "$place" "$place"/* 2>/dev/null; exit $code'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", options, str(folder)]
    program = [sys.executable, "-m", "breastkit.cli", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *program], env=environment, capture_output=True, text=True, timeout=300)
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip(f"this machine does not allow a mount of one's own: {result.stderr.strip()}")
    return result


@pytest.mark.parametrize(
    "verb", [["data", "phantom", "us"], ["data", "phantom", "mri"]], ids=lambda words: " ".join(words)
)
@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ("size=16k", "no space is left on the device; free some or choose another output folder."),
        ("ro", "the file system is read-only; choose another output folder."),
    ],
)
def test_no_space_or_read_only(tmp_path, verb, options, remedy):
    small = ["--cases", "4", "--workers", "2"] + (["--size", "48"] if "mri" in verb else [])
    result = in_a_mount(options, tmp_path, *verb, tmp_path / "out", *small)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert last_line(result.stderr).endswith(remedy)
    assert str(tmp_path) in last_line(result.stderr)


def test_a_folder_that_is_not_writable(tmp_path):
    """Root may write everywhere, so where the tests run as root the command gives up that right first."""
    command = [sys.executable, "-m", "breastkit.cli", "data", "phantom", "us", str(tmp_path / "out"), "--workers", "1"]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed, and root may write everywhere")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    tmp_path.chmod(0o555)
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    tmp_path.chmod(0o755)
    assert result.returncode == 1, result.stderr
    assert last_line(result.stderr).endswith(
        "the folder is not writable; change its permissions or choose another output folder."
    )
