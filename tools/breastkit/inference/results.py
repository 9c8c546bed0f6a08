"""What all bundles do around the files they write: a folder, words on what was left aside, a table of problems."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from numpy.typing import NDArray
from tqdm import tqdm

from breastkit.atomic import make_folder
from breastkit.errors import BreastkitError
from breastkit.images import is_volume, write_nifti
from breastkit.inference.inputs import Inputs
from breastkit.inference.readable_cases import ReadableCases
from breastkit.tables import write_table


@dataclass(eq=False)
class Results:
    """Handler that has the files of every input written, a table of all, and ``problems.csv`` where some were left out.

    A subclass writes one input in `write_input`, where it adds to the `rows`, and in `finish` what belongs to all.

    Args:
        output_dir: the folder to write to.
        inputs: what inference was given.
        dataset: knows which inputs could not be used.

    Attributes:
        table: name of the table.
        beside_inputs: whether the folder may be that of the inputs.
        columns: of the table.
        rows: of the table so far.
    """

    table: ClassVar[str] = "predictions.csv"
    beside_inputs: ClassVar[bool] = True

    output_dir: str | Path
    _: KW_ONLY
    inputs: Inputs
    dataset: ReadableCases
    columns: Sequence[str] = field(init=False)
    rows: list[dict[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.folder = Path(self.output_dir)

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator that decollates."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Makes the folder, before hours of work, and names what is left aside.

        Raises:
            BreastkitError: if true masks beside the inputs could be overwritten.
        """
        if not self.beside_inputs:
            refuse_folder_of_pictures(self.folder, self.inputs)
        make_folder(self.folder)
        say_left_aside(self.inputs.skipped)
        self.rows = []

    def write(self, engine: Engine) -> None:
        """Writes the files of the inputs of a batch."""
        state: Any = engine.state
        for batch, output in zip(state.batch, state.output, strict=True):
            self.write_input(batch, output)
            self.write_table()

    def write_table(self) -> None:
        """Writes the table so far."""
        write_table(self.folder / self.table, self.rows, self.columns)

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the files of one input and adds its rows."""
        raise NotImplementedError

    def finish(self, engine: Engine) -> None:
        """Writes what was left out and why."""
        write_problems(self.folder, self.inputs, self.dataset)


def say_left_aside(skipped: Sequence[tuple[Path, str]]) -> None:
    """Names on stderr what of the input is left aside, and why."""
    for path, reason in skipped:
        tqdm.write(f"Left aside: {path.name}: {reason}.", file=sys.stderr)


def refuse_folder_of_pictures(folder: Path, inputs: Inputs, *, option: str = "--output_dir") -> None:
    """Keeps masks that are written from overwriting true ones beside the pictures.

    Args:
        folder: to write to.
        inputs: the pictures.
        option: that names the folder.

    Raises:
        BreastkitError: if it is the folder of the pictures.
    """
    if folder.resolve() in {Path(item["image"]).parent.resolve() for item in inputs.items}:
        raise BreastkitError(
            f"{folder} holds the pictures themselves, and true masks beside them could be overwritten; name another "
            f"folder with {option}."
        )


def write_problems(folder: str | Path, inputs: Inputs, dataset: ReadableCases) -> None:
    """Writes ``problems.csv`` with what was left aside or could not be used; none of an earlier run stays."""
    problems = [(path.name, f"left aside: {reason}") for path, reason in inputs.skipped]
    problems += [(Path(path).name, sentence) for path, sentence in dataset.failures]
    path = Path(folder) / "problems.csv"
    path.unlink(missing_ok=True)
    if problems:
        write_table(path, problems, ("input", "problem"))


def write_on_grid(path: str | Path, volume: NDArray[Any], scan: MetaTensor) -> Path:
    """Writes a volume on the grid of the scan it belongs to, as the scan's own file has it where that is NIfTI.

    Args:
        path: the file to write.
        volume: (i, j, k).
        scan: as it was read, with the path of its file.
    """
    source = Path(scan.meta["filename_or_obj"])
    affine = np.asarray(scan.affine, dtype=np.float64)
    return write_nifti(path, volume, affine, like=source if is_volume(source) else None)
