"""The worked examples of CONTRIBUTING.md are carried out as they stand, each on a copy of the repository of its own.

A block under a path is that file. A `diff` block under a path is a change, without line numbers: the lines without `+`
have to occur in that file once, one after the other. Shell blocks are run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.datasets.small_sets import save, square, texture

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COSTS = "## What adding a thing costs"
BLOCK = re.compile(r"^(?:`(?P<path>[\w./-]+)`\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
# What a copy has no use for, and from which size on a file that no example changes may be a link.
LEFT_OUT = (".git", ".venv", "work", "runs", "__pycache__", ".*_cache", "*.egg-info")
LARGE = 100_000


def examples():
    """The blocks of every example, by its heading."""
    costs = TEXT[TEXT.index(COSTS) : TEXT.index("## Releases")]
    _, *sections = re.split(r"^### ", costs, flags=re.MULTILINE)
    return {section.splitlines()[0]: list(BLOCK.finditer(section)) for section in sections}


EXAMPLES = examples()


def bring(source, target):
    """Copies a file, or links it where it is large."""
    if Path(source).stat().st_size < LARGE:
        return shutil.copy2(source, target)
    return Path(target).symlink_to(Path(source).resolve())


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT), copy_function=bring)
    return folder


def changed(text, change):
    """Makes a change to a text, at the one place where it fits."""
    lines = change.splitlines()
    before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != mark) for mark in "+-")
    places = [found.start() for found in re.finditer(rf"^{re.escape(before)}", text, re.MULTILINE)]
    assert len(places) == 1, f"{before!r} occurs {len(places)} times"
    return text[: places[0]] + after + text[places[0] + len(before) :]


def run(copy, *words):
    """Runs a program of the copy, whatever package is installed."""
    environment = os.environ | {
        "PYTHONPATH": str(copy / "tools"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    result = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{words[-1]}\n{result.stdout[-6000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def carry_out(copy, heading):
    """Follows an example on the copy, and returns what its commands printed and the paths it touched."""
    printed, touched = "", []
    for block in EXAMPLES[heading]:
        if block["path"] is None:
            assert block["language"] == "sh"
            printed += run(copy, "bash", "-ec", block["text"])
            continue
        path = copy / block["path"]
        touched.append(block["path"])
        if block["language"] == "diff":
            path.write_text(changed(path.read_text(encoding="utf-8"), block["text"]), encoding="utf-8")
        else:
            assert not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
    python = [path for path in touched if path.endswith(".py")]
    run(copy, sys.executable, "-m", "ruff", "check", "--no-cache", *python)
    run(copy, sys.executable, "-m", "ruff", "format", "--no-cache", "--check", *python)
    return printed, touched


@pytest.mark.slow
def test_a_data_set(copy):
    printed, touched = carry_out(copy, "A data set of ultrasound pictures")
    assert touched == [
        "tools/breastkit/datasets/harbour.py",
        "tests/datasets/test_harbour.py",
        "tools/breastkit/datasets/README.md",
    ]
    assert printed.startswith("Usage: breastkit data prepare harbour SOURCE OUT [options]")
    listed = run(copy, "breastkit", "data", "prepare", "--help")
    assert "  harbour  case list of Harbour: breast ultrasound, several views a patient" in listed
    for number in range(20):
        for kind, picture in (("images", texture(number)), ("masks", square((5, 9)))):
            save(copy / "work" / "harbour" / kind / f"p{number // 2:02}_{number % 2}.png", picture)
    assert "dataset.json" in run(copy, "breastkit", "data", "prepare", "harbour", "work/harbour", "work/out")


@pytest.mark.slow
def test_a_network(copy):
    printed, touched = carry_out(copy, "A network for all segmentation bundles")
    assert touched == ["tools/breastkit/networks/dilated_stack.py", "tools/breastkit/networks/presets.json"]
    assert int(re.search(r"(\d+) passed", printed)[1]) > 20
    # Built by every segmentation bundle that shares presets, with that bundle's channels.
    program = (
        "import json, torch; from pathlib import Path; from breastkit.networks import from_file\n"
        "for path in sorted(Path('bundles').glob('*segmentation/configs/networks.json')):\n"
        "    channels = json.loads(path.read_text())['_presets_']['in_channels']\n"
        "    print(path, *from_file(path, 'dilated_stack')(torch.zeros(1, channels, 32, 40)).shape)"
    )
    answered = run(copy, sys.executable, "-c", program).splitlines()
    assert [line.rsplit(maxsplit=4)[1:] for line in answered] == [["1", "1", "32", "40"]] * 4


def test_a_bundle(copy):
    printed, touched = carry_out(copy, "A seventh bundle, served")
    assert touched == [
        "bundles/breast_us_cyst_segmentation/configs/metadata.json",
        "tests/bundles/test_breast_us_cyst_segmentation.py",
    ]
    assert "skipped" not in printed


@pytest.mark.slow
def test_an_output(copy):
    printed, touched = carry_out(copy, "An output of `run mri` and `run us`")
    assert touched == ["tools/breastkit/findings/lesion_count.py", "tests/findings/test_lesion_count.py"]
    written = {path.name: path.read_text() for path in (copy / "work" / "us").iterdir()}
    # What could not be read is always listed, here the phantom's mask, and what was done.
    assert set(written) == {"malignant (1)_count.txt", "problems.csv", "run.json"}
    assert written["malignant (1)_count.txt"] in ("0\n", "1\n")
    assert "passed" in printed and "skipped" not in printed
    # By the other command too, which names what it offers before it reads anything.
    words = ["breastkit", "run", "mri", "none", "--out", "work/mri", "--formats", "no"]
    with pytest.raises(AssertionError, match="--formats takes count, csv, "):
        run(copy, *words)


@pytest.mark.slow
def test_a_security_rule(copy):
    printed, touched = carry_out(copy, "A rule of the annotation server")
    assert touched == ["tools/breastkit/server/security/rules.py", "tests/server/security/test_scoring_limit.py"]
    assert printed.count("passed") == 2 and "skipped" not in printed


def test_the_changelog_begins_with_the_version_there_is():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1] == version


class TestReadingExamples:
    """The reader itself: a mistake in it would make the tests above pass for nothing."""

    def test_every_example_is_carried_out(self):
        source = Path(__file__).read_text(encoding="utf-8")
        assert [heading for heading in EXAMPLES if f'carry_out(copy, "{heading}")' not in source] == []

    def test_a_change_is_made_where_it_fits(self):
        assert changed("a\nb\nc\n", " b\n+x\n+\n") == "a\nb\nx\n\nc\n"
        assert changed("a\nb\nc\n", " a\n-b\n+x\n c\n") == "a\nx\nc\n"

    @pytest.mark.parametrize("text", ["a\n", "b\nb\n", "bb\n", "xb\n"])
    def test_a_place_that_is_not_there_or_not_the_only_one_fails(self, text):
        with pytest.raises(AssertionError, match="occurs"):
            changed(text, " b\n+x\n")

    def test_a_command_that_fails_fails(self, tmp_path):
        with pytest.raises(AssertionError, match="no harbour"):
            run(tmp_path, "bash", "-c", "echo no harbour; exit 3")
