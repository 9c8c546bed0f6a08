"""What all bundles do around the files they write: a folder, words on what was left aside, a table of problems."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from ignite.engine import Engine, Events
from tqdm import tqdm

from breastkit.atomic import make_folder, write_text
from breastkit.inference.inputs import Inputs
from breastkit.inference.readable_cases import ReadableCases


class Results:
    """Handler that has the files of every input written, and ``problems.csv`` where inputs were left out.

    A subclass writes one input in `write_input`, and in `finish` what belongs to all of them.

    Args:
        output_dir: the folder to write to.
        inputs: what inference was given.
        dataset: knows which inputs could not be used.
    """

    def __init__(self, output_dir: str | Path, *, inputs: Inputs, dataset: ReadableCases) -> None:
        self.folder, self.inputs, self.dataset = Path(output_dir), inputs, dataset

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator that decollates."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Makes the folder, before hours of work, and names what is left aside."""
        make_folder(self.folder)
        for path, reason in self.inputs.skipped:
            tqdm.write(f"Left aside: {path.name}: {reason}.", file=sys.stderr)

    def write(self, engine: Engine) -> None:
        """Writes the files of the inputs of a batch."""
        state: Any = engine.state
        for batch, output in zip(state.batch, state.output, strict=True):
            self.write_input(batch, output)

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the files of one input."""
        raise NotImplementedError

    def finish(self, engine: Engine) -> None:
        """Writes what was left out and why."""
        write_problems(self.folder, self.inputs, self.dataset)


def write_problems(folder: str | Path, inputs: Inputs, dataset: ReadableCases) -> None:
    """Writes ``problems.csv`` with what was left aside or could not be used; none of an earlier run stays."""
    problems = [(path.name, f"left aside: {reason}") for path, reason in inputs.skipped]
    problems += [(Path(path).name, sentence) for path, sentence in dataset.failures]
    path = Path(folder) / "problems.csv"
    path.unlink(missing_ok=True)
    if problems:
        write_text(path, pd.DataFrame(problems, columns=["input", "problem"]).to_csv(index=False))
