"""The code blocks of every README are run as they stand, in order, in a folder of their own.

Data that a README does not make itself are phantoms under the same names (`DATA`). Where a line would take minutes,
the options in `SMALLER` are added to it. A block under a comment `<!-- not run by the tests: why -->` is left out, and
`make` lines are run by `.ci/run`.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELL = {"", "sh", "bash", "shell", "console"}
BLOCK = re.compile(r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=fence)\s*$", re.DOTALL | re.MULTILINE)
LEFT_OUT = re.compile(r"<!-- not run by the tests: (?P<why>[^>]+) -->\s*\Z")
RUN = ("breastkit ", "python ", "torchrun ")
# What a README may take for granted, and the command that makes it; in this order.
DATA = {
    "work/phantom": "breastkit data phantom mri work/phantom --cases 6 --seed 1 --size 48",
    "work/tissue": "breastkit data prepare tissue work/phantom work/tissue",
    "work/phantom_us": "breastkit data phantom us work/phantom_us --cases 24 --seed 1",
    "work/busi": "breastkit data prepare busi work/phantom_us work/busi",
}
# What keeps a line short: the first of these that occurs in it, and the options it then gets.
SMALLER = (
    ("data phantom mri", "--size 48"),
    ("train.json", "--max_epochs 1 --image_size 32 --batch_size 8 --num_workers 0"),
    ("breastkit demo", "--no-serve"),
)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    reason_left_out: str


def blocks_of(readme):
    text = readme.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        comment = LEFT_OUT.search(text[: match.start()])
        found.append(Block(match["language"], match["text"], comment["why"].strip() if comment else ""))
    return found


def readmes():
    skipped = {".venv", ".git", "work", "runs", "node_modules", ".pytest_cache"}
    return sorted(path for path in ROOT.rglob("README.md") if not skipped & set(path.relative_to(ROOT).parts))


def commands_of(block):
    """The lines of a shell block that are ours, with lines ending in a backslash joined."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").strip() for line in lines if line.removeprefix("$ ").strip().startswith(RUN)]


def made_smaller(command):
    options = next((options for text, options in SMALLER if text in command), "")
    given = {word for word in command.split() if word.startswith("--")}
    pairs = re.findall(r"--[\w-]+(?: [^-]\S*)?", options)
    return " ".join([command, *(pair for pair in pairs if pair.split()[0] not in given)])


def run(command, folder):
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The phantoms that stand for a README's data, made once."""
    made = tmp_path_factory.mktemp("readme_data")
    for command in DATA.values():
        result = run(["bash", "-c", command], made)
        assert result.returncode == 0, result.stderr
    return made


@pytest.fixture
def folder(tmp_path, data):
    """A working folder in which the repository's folders and the data have the names the READMEs use."""
    for name in ("bundles", "mlflow", "apps", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def bring_data(commands, data, folder):
    """Copies what the commands use and do not make."""
    for name in DATA:
        uses = [command for command in commands if re.search(rf"{name}(?![\w-])", command)]
        makes = [command for command in uses if re.search(rf"data (phantom|prepare) .*{name}(?![\w/-])", command)]
        if uses and not makes:
            shutil.copytree(data / name, folder / name)


def readmes_to_run():
    """All READMEs; cards, and that of cohorts, repeat what other tests run: they are run by `make test-all`."""
    for path in readmes():
        place = path.relative_to(ROOT)
        yield pytest.param(
            path, id=str(place), marks=[pytest.mark.slow] if {"bundles", "cohorts"} & {*place.parts} else []
        )


@pytest.mark.parametrize("readme", readmes_to_run())
def test_blocks_run(readme, folder, data):
    commands = []
    for block in blocks_of(readme):
        if block.reason_left_out:
            continue
        if block.language == "python":
            commands.append([sys.executable, "-c", block.text])
        elif block.language in SHELL:
            commands += [["bash", "-c", made_smaller(command)] for command in commands_of(block)]
    bring_data([command[-1] for command in commands], data, folder)
    for command in commands:
        result = run(command, folder)
        assert result.returncode == 0, f"{command[-1]}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"


@pytest.mark.parametrize("readme", readmes(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(readme):
    text = BLOCK.sub("", readme.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    targets += re.findall(r'(?:src|href)="(?!https?:)([^"#]+)"', text)
    missing = [target for target in targets if not (readme.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("readme", readmes(), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_are_not_run_are_at_least_understood(readme):
    """A verb or option that is renamed must not survive in a block that needs a downloaded set."""
    import shlex

    from breastkit.cli import COMMANDS
    from breastkit.usage import checked_words, find, parameters_of

    for block in blocks_of(readme):
        for command in commands_of(block) if block.language in SHELL else []:
            words = shlex.split(command, comments=True)
            if words[0] == "breastkit" and "--help" not in words and "--version" not in words:
                verb, used, rest = find(COMMANDS, words[1:], program="breastkit")
                checked_words(parameters_of(verb.function()), rest, used)


def test_front_page_names_every_bundle():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "bundles").iterdir() if path.is_dir() and path.name not in text] == []


def test_the_make_lines_of_the_front_page_are_run_by_ci():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {
        line.split()[1]
        for block in blocks_of(ROOT / "README.md")
        for line in block.text.splitlines()
        if line.startswith("make ")
    }
    assert {"demo", "test"} <= named, text
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert named <= set(targets)
    assert {"lint", "test", "demo"} <= set(re.findall(r"^make ([\w-]+)", steps, re.MULTILINE))


class TestReadingBlocks:
    """The reader itself: a mistake in it would make the tests above pass for nothing."""

    def read(self, tmp_path, text):
        (tmp_path / "README.md").write_text(text)
        return blocks_of(tmp_path / "README.md")

    def test_languages_and_reasons(self, tmp_path):
        reason = "<!-- not run by the tests: needs data -->"
        text = f"a\n```sh\nbreastkit x\n```\n{reason}\n```python\n1/0\n```\n```text\nx\n```\n"
        assert self.read(tmp_path, text) == [
            Block("sh", "breastkit x\n", ""),
            Block("python", "1/0\n", "needs data"),
            Block("text", "x\n", ""),
        ]

    def test_commands(self):
        block = Block("sh", "$ breastkit a \\\n  --b 1\nmake test\n# breastkit no\npython -m x\n", "")
        assert commands_of(block) == ["breastkit a    --b 1", "python -m x"]

    def test_options_in_the_line_win(self):
        assert made_smaller("breastkit data phantom mri x --size 64") == "breastkit data phantom mri x --size 64"
        assert made_smaller("breastkit data phantom mri x") == "breastkit data phantom mri x --size 48"
        assert made_smaller("python train.json --max_epochs 2").endswith(
            "--max_epochs 2 --image_size 32 --batch_size 8 --num_workers 0"
        )
