"""The one error a user can cause, and how it leaves the program.

A `BreastkitError` carries one sentence that names the file and the remedy. The command line prints the sentence alone
and exits with `EXIT_FAILED`; under ``python -m monai.bundle run`` the configs call `report_as_sentences` first, so
that the sentence is the last line of stderr there too, although MONAI wraps whatever a config raises.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3


class BreastkitError(Exception):
    """Something a user can put right; the message is one sentence that names the file and the remedy."""


class UsageError(BreastkitError):
    """The command itself was wrong: unknown verb, missing or contradicting option."""


class PartlyDoneError(BreastkitError):
    """Some of the inputs could not be used; what was made of the others is written and whole."""


class SomeFailedError(BreastkitError):
    """Some studies of a cohort failed; the others are done."""


# A data-loader worker sends its exception home as text; this finds our sentence in it.
_SENTENCE_IN_TEXT = re.compile(r"^(?:[\w.]*\.)?(?:BreastkitError|UsageError|PartlyDoneError): (.+)$", re.MULTILINE)

# What MONAI says when a config is run without the one it stands on.
_MISSING_ID = re.compile(r"the referring item `@(.+?)` is not defined in the config content")


def sentence_of(error: BaseException | None) -> str | None:
    """Returns the sentence of the `BreastkitError` that caused an exception, or None when there is none.

    A config that stands on another, and was run alone, counts as one.
    """
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        found = _SENTENCE_IN_TEXT.findall(str(error))
        if found:
            return str(found[-1])
        if missing := _MISSING_ID.search(str(error)):
            return (
                f"The config refers to '{missing[1]}' and does not say it; evaluate.json is run on another config: "
                "--config_file \"['…/train.json','…/evaluate.json']\" judges a run just trained, with inference.json "
                "in place of train.json the weights that ship or that --ckpt_path names; multi_gpu_train.json is run "
                "on train.json in the same way."
            )
        if isinstance(error, BreastkitError):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def report_as_sentences() -> None:
    """Makes an uncaught `BreastkitError`, however deeply wrapped, end the process with its sentence alone.

    Other exceptions keep their traceback. Safe to call more than once.
    """
    if not isinstance(sys.excepthook, _SentenceHook):
        sys.excepthook = _SentenceHook(sys.excepthook)


class _SentenceHook:
    """What Python calls with an uncaught exception; what has no sentence goes to the hook before."""

    def __init__(self, previous: Callable[[type[BaseException], BaseException, TracebackType | None], Any]) -> None:
        self.previous = previous

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sentence = sentence_of(error)
        if sentence is None:
            self.previous(kind, error, trace)
        else:
            sys.stderr.write(f"{sentence}\n")
