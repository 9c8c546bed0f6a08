"""Rows as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from breastkit.atomic import write_text


def write_table(path: str | Path, rows: Sequence[Any], columns: Sequence[str] | None = None) -> Path:
    """Writes rows as a CSV file; what a row lacks, None and NaN are empty fields.

    Args:
        path: the file to write.
        rows: dictionaries by column, or values in the order of the columns.
        columns: in their order; what the rows hold besides is left out. Those of the rows, which are dictionaries, by
            default.
    """
    names = list(dict.fromkeys(name for row in rows for name in row)) if columns is None else list(columns)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = [row.get(name) for name in names] if isinstance(row, Mapping) else row
        writer.writerow([_field(value) for value in values])
    return write_text(path, stream.getvalue())


def _field(value: Any) -> Any:
    """Returns what stands for a value: numbers of NumPy as Python's own, so that none loses a digit or gains a type."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and value != value else value
