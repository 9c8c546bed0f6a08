"""The command line: words become the right values, help can be followed, mistakes get one sentence and an exit code."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from breastkit import cli
from breastkit.errors import BreastkitError, UsageError
from breastkit.usage import Group, Verb, checked_words, find, parameters_of

# Seconds that a process may take to start, or to end, on a machine that does much else.
PATIENCE = 240
CALLS = []


def record(
    source: str | Path,
    out: Path,
    *,
    names: Sequence[str] = (),
    cases: int = 3,
    size: tuple[int, ...] = (64, 64),
    threshold: float | None = None,
    layout: Literal["tissue", "mamamia"] = "tissue",
    dicom: bool = False,
    check: bool = True,
    lying_headers: int = 0,
    hook: dict | None = None,
) -> Path:
    """Records how it was called.

    A second paragraph explains it.

    Args:
        source: where the data are.
        out: where `the result` goes.
        names: names to take.
        cases: how many.
        size: edge lengths.
        threshold: where to cut.
        layout: how files are arranged.
        dicom: DICOM too.
        check: look at every file.
        lying_headers: two words.
        hook: not for the command line.
    """
    CALLS.append(dict(locals()))
    return out


def gather(runs: Sequence[str | Path], *, out: str) -> None:
    """Gathers runs.

    Args:
        runs: folders.
        out: where to.
    """
    CALLS.append(dict(locals()))


def refuse(path: str) -> None:
    """Refuses.

    Args:
        path: a file.
    """
    raise BreastkitError(f"{path} is empty; export it again.")


@pytest.fixture
def recorded(monkeypatch):
    """The command line with three verbs of this file in place of the package's."""
    CALLS.clear()
    here = {name: Verb(f"{__name__}:{name}", f"calls {name}") for name in ("record", "gather", "refuse")}
    monkeypatch.setattr(cli, "COMMANDS", Group("a test.", {"data": Group("data.", here)}))
    return CALLS


@pytest.mark.parametrize(
    "word", ["153", "1e5", "(1)", "a,b", "[x]", "{'a': 1}", "None", "True", "benign (1) ö.png", "a=b", "-"]
)
def test_paths_and_names_stay_text(recorded, word):
    assert cli.main(["data", "record", word, word, "--names", word]) == 0
    assert recorded[0]["source"] == word
    assert recorded[0]["out"] == Path(word)
    assert recorded[0]["names"] == [word]


@pytest.mark.parametrize("word", ["153", "1e5", "(1)", "a,b", "--out", "-1"])
def test_option_values_stay_text_too(recorded, word):
    assert cli.main(["data", "record", f"--source={word}", f"--out={word}"]) == 0
    assert (recorded[0]["source"], recorded[0]["out"]) == (word, Path(word))


def test_words_after_two_dashes_are_arguments(recorded):
    assert cli.main(["data", "record", "--", "--odd name", "--help"]) == 0
    assert (recorded[0]["source"], recorded[0]["out"]) == ("--odd name", Path("--help"))


def test_options_get_their_types(recorded):
    words = "data record a b --cases 7 --size 128,128,48 --threshold 1e-1 --layout mamamia --dicom --no-check"
    assert cli.main(words.split()) == 0
    call = recorded[0]
    assert (call["cases"], call["size"], call["threshold"]) == (7, [128, 128, 48], 0.1)
    assert (call["layout"], call["dicom"], call["check"]) == ("mamamia", True, False)


def test_a_flag_does_not_swallow_the_next_word(recorded):
    assert cli.main(["data", "record", "--dicom", "a", "b"]) == 0
    assert (recorded[0]["dicom"], recorded[0]["source"]) == (True, "a")


def test_defaults_are_the_functions_own(recorded):
    cli.main(["data", "record", "a", "b"])
    assert (recorded[0]["cases"], recorded[0]["size"], recorded[0]["names"], recorded[0]["hook"]) == (
        3,
        (64, 64),
        (),
        None,
    )


def test_one_verb_takes_many_folders(recorded):
    assert cli.main(["data", "gather", "runs/1", "runs/2,3", "--out", "7"]) == 0
    assert (recorded[0]["runs"], recorded[0]["out"]) == (["runs/1", "runs/2,3"], "7")


@pytest.mark.parametrize("option", ["--lying-headers", "--lying_headers"])
def test_dashes_and_underscores_are_the_same(recorded, option):
    assert cli.main(["data", "record", "a", "b", option, "2"]) == 0
    assert recorded[0]["lying_headers"] == 2


def test_a_group_with_a_verb_of_its_own_takes_names_and_members():
    own, member = Verb(f"{__name__}:gather", "gather runs"), Verb(f"{__name__}:record", "record a call")
    tree = Group("a program.", {"bench": Group("gathers or records.", {"record": member}, otherwise=own)})
    for words, verb, rest in (
        (["bench"], own, []),
        (["bench", "a", "b"], own, ["a", "b"]),
        (["bench", "--help"], own, ["--help"]),
        (["bench", "record", "a"], member, ["a"]),
    ):
        found, _, left = find(tree, words, program="program")
        assert (found, left) == (verb, rest)
    assert dict(tree.verbs()) == {"bench": own, "bench record": member}


def test_what_was_made_is_named(recorded, capsys):
    cli.main(["data", "record", "a", "some where"])
    assert capsys.readouterr().out == "Written: some where\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("dta", "breastkit has no verb 'dta'; did you mean breastkit data?"),
        ("zzz", "breastkit has no verb 'zzz'; there are data."),
        ("data recrd a b", "breastkit data has no verb 'recrd'; did you mean breastkit data record?"),
        ("data record a b --casse 3", "breastkit data record has no option --casse; did you mean --cases?"),
        ("data record a b --qqqqq", "breastkit data record has no option --qqqqq; see breastkit data record --help."),
        ("data record a", "breastkit data record needs OUT; see breastkit data record --help."),
        ("data gather a", "breastkit data gather needs --out; see breastkit data gather --help."),
        ("data record a b c", "breastkit data record takes no further argument 'c'; see breastkit data record --help."),
        ("data record a b --cases six", "--cases takes a whole number, not 'six'."),
        ("data record a b --cases 1.5", "--cases takes a whole number, not '1.5'."),
        ("data record a b --threshold low", "--threshold takes a number, not 'low'."),
        ("data record a b --size 64,x", "--size takes a whole number, not 'x'."),
        ("data record a b --layout mamma", "--layout takes tissue, mamamia, not 'mamma'; did you mean mamamia?"),
        ("data record a b --dicom=maybe", "--dicom takes true or false, not 'maybe'."),
        ("data record a b --cases", "--cases needs a value; see breastkit data record --help."),
        ("data record a b --cases 1 --cases 2", "--cases was given twice; give it once."),
        ("data record a b --hook x", "breastkit data record has no option --hook; did you mean --check?"),
    ],
)
def test_wrong_usage_is_one_sentence_and_nothing_runs(recorded, capsys, words, sentence):
    assert cli.main(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.err == sentence + "\n"
    assert captured.out == ""
    assert not recorded


def test_an_error_is_its_sentence_alone(recorded, capsys):
    assert cli.main(["data", "refuse", "x.nii"]) == 1
    assert capsys.readouterr() == ("", "x.nii is empty; export it again.\n")


def test_help_is_made_from_signature_and_docstring(recorded, capsys):
    assert cli.main(["data", "record", "--help"]) == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    assert text.startswith("Usage: breastkit data record SOURCE OUT [options]\n\nRecords how it was called.\n")
    for line in (
        "  OUT     where the result goes.",
        "--layout tissue|mamamia",
        "(default: 64,64)",
        "--[no-]check",
        "look at every file (on by default)",
    ):
        assert line in text
    assert "hook" not in text


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["data"], ["data", "--help"], ["data", "help"]])
def test_a_group_explains_itself(recorded, capsys, words):
    assert cli.main(words) == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    assert "record" in text
    assert "More about a verb:" in text


VERBS = dict(cli.COMMANDS.verbs())


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_explains_every_argument(name, capsys):
    """No dead verbs: each function can be imported, and says what each of its arguments is."""
    assert cli.main([*name.split(), "--help"]) == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    assert text.startswith(f"Usage: breastkit {name}")
    assert max(map(len, text.splitlines())) <= 120
    for parameter in parameters_of(VERBS[name].function()):
        assert parameter.explanation, f"{VERBS[name].target} does not explain {parameter.name}"


@pytest.mark.parametrize("name", VERBS)
def test_every_example_is_a_command_that_is_understood(name):
    example = VERBS[name].example.split()
    assert example[0] == "breastkit"
    node, command, rest = find(cli.COMMANDS, example[1:], program="breastkit")
    assert node is VERBS[name]
    parameters = parameters_of(node.function())
    parsers = {item.name: item.parse for item in parameters}
    for word in checked_words(parameters, rest, command):
        key, _, value = word.removeprefix("--").partition("=")
        parsers[key](value)


def test_a_misspelt_option_of_a_real_verb_writes_nothing(tmp_path):
    assert cli.main(["data", "phantom", "us", str(tmp_path / "out"), "--casses", "3"]) == 2
    assert not (tmp_path / "out").exists()


def run(*words, **options):
    command = [sys.executable, "-m", "breastkit.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)


def test_version():
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("breastkit ")


def test_help_loads_nothing_heavy():
    heavy = "torch monai pandas matplotlib cv2 scipy fire"
    program = (
        "import sys; from breastkit.cli import main; code = main(['--help']); "
        f"sys.exit(code or ' '.join(set('{heavy}'.split()) & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_reader_that_stops_early_is_no_error():
    result = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m breastkit.cli data --help | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_ctrl_c_is_a_sentence_and_130(tmp_path):
    """A long piece of work is interrupted as a terminal does it: the signal goes to the whole process group."""
    out = tmp_path / "phantoms"
    words = [sys.executable, "-m", "breastkit.cli", "data", "phantom", "mri", str(out), "--cases", "40"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while not out.parent.is_dir() or not list(tmp_path.iterdir()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "Stopped by Ctrl-C; files that were finished are kept, none is half-written."
    assert not list(tmp_path.rglob(".writing-*"))


def test_usage_error_is_a_breastkit_error():
    """Whoever calls the package from Python catches one type."""
    assert issubclass(UsageError, BreastkitError)


def test_the_process_ends_like_any_other(tmp_path):
    """Exit handlers run, threads are waited for, temporary folders go, and what was printed is not lost."""
    program = f"""
import atexit, tempfile, threading, time
from breastkit.cli import leave
folder = tempfile.TemporaryDirectory(dir={str(tmp_path)!r})
atexit.register(print, "handler")
threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
print("printed", end=" ")
leave(3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (3, "printed thread\nhandler\n", "")
    assert not list(tmp_path.iterdir())


def test_a_profiler_sees_the_end():
    program = "import sys; from breastkit.cli import leave; sys.setprofile(lambda *_: None); leave(3)"
    assert subprocess.run([sys.executable, "-c", program], timeout=PATIENCE).returncode == 3
