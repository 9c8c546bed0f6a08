import subprocess
import sys

import pytest

from breastkit.errors import BreastkitError, sentence_of


def _chain():
    try:
        try:
            raise BreastkitError("scan.nii is empty; copy it again.")
        except BreastkitError as error:
            raise ValueError("applying transform") from error
    except ValueError as error:
        wrapped = RuntimeError("Failed to evaluate ConfigExpression")
        wrapped.__cause__ = error
        return wrapped


def test_the_sentence_is_found_however_deep():
    assert sentence_of(_chain()) == "scan.nii is empty; copy it again."
    assert sentence_of(ValueError("other")) is None


def test_a_config_run_without_the_one_it_stands_on_is_told():
    error = ValueError("the referring item `@networks_file` is not defined in the config content.")
    sentence = sentence_of(error)
    assert sentence.startswith("The config refers to 'networks_file' and does not say it; evaluate.json is run on")
    assert "inference.json" in sentence


def test_the_sentence_is_found_in_the_text_of_a_worker():
    text = "Caught RuntimeError in worker 0\nbreastkit.errors.BreastkitError: a.nii is empty; copy it.\n\nThe above …"
    assert sentence_of(RuntimeError(text)) == "a.nii is empty; copy it."


@pytest.mark.parametrize(
    ("raised", "last_line", "traceback"),
    [
        ("RuntimeError('x') from BreastkitError('a.nii is empty; copy it.')", "a.nii is empty; copy it.", False),
        ("KeyError('bug')", "KeyError: 'bug'", True),
    ],
)
def test_the_hook_prints_the_sentence_alone_and_keeps_other_tracebacks(raised, last_line, traceback):
    code = f"from breastkit.errors import *\nreport_as_sentences(); report_as_sentences()\nraise {raised}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == last_line
    assert ("Traceback" in result.stderr) is traceback
