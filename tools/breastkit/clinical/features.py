"""What was measured in images, one row a patient, from any table with a column ``patient_id``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pandas as pd

from breastkit.clinical.codes import is_missing
from breastkit.clinical.table import mixed_up, patient_name, plain_name, read_rows, to_numbers
from breastkit.datasets.tissue import patient_id
from breastkit.errors import BreastkitError

# These stand first, as the exploratory figure of the field shows them.
FIRST = ("volume_voxels", "mean_intensity", "max_intensity")
# What orders the lesions of a patient, the first of them that a table has; larger comes first.
_SCORES = ("score", "confidence", "probability")
_SIZES = ("volume_mm3", "volume_ml", "volume_voxels", "longest_diameter_mm", "area_mm2", "area_px")
# Numbers that measure nothing.
_NO_MEASURE = ("lesion", "number", "case", "fold", "seconds", "patient")
Lesions = Literal["best", "largest", "all"]


def read_features(
    path: str | Path, *, lesions: Lesions = "best", patient: Callable[[str], str] = patient_id
) -> pd.DataFrame:
    """Reads a table of features: numbers, by patient.

    Args:
        path: CSV or XLSX with a column ``patient_id``.
        lesions: of a patient with several rows, ``best`` takes the one with the highest score, ``largest`` the largest,
            ``all`` keeps every row.
        patient: whom a name means; that of the clinical table it is held against.

    Returns:
        The features, the usual ones first; the index holds the patients.

    Raises:
        BreastkitError: if it cannot be read, or has no patients or no numbers.
    """
    if lesions not in ("best", "largest", "all"):
        raise BreastkitError(f"--lesions takes best, largest or all, not {lesions}.")
    path = Path(path)
    rows = read_rows(path)
    table = rows.iloc[1:].copy()
    table.columns = pd.Index([plain_name(title) for title in rows.iloc[0]])
    if "patient_id" not in table:
        raise BreastkitError(f"{path} has no column patient_id; it must say whom each row belongs to.")
    table = table[~table["patient_id"].map(is_missing)]
    names = [patient_name(value) for value in table.pop("patient_id")]
    table.index = pd.Index([patient(name) for name in names])
    if (mixed := mixed_up(names)) and patient(mixed[0]) == patient(mixed[1]):
        raise BreastkitError(
            f"{path} has patients {mixed[0]} and {mixed[1]}, which end in the same number; name them in the clinical "
            "table alike."
        )
    numbers = table.apply(to_numbers)
    measured = [name for name in numbers if numbers[name].notna().any() and name not in _NO_MEASURE]
    if not measured or table.empty:
        raise BreastkitError(f"{path} holds no patient with a number; give a table of features.")
    order = [name for name in FIRST if name in measured] + [name for name in measured if name not in FIRST]
    return _of_lesions(numbers[order], lesions)


def _of_lesions(table: pd.DataFrame, lesions: Lesions) -> pd.DataFrame:
    if lesions == "all" or not table.index.has_duplicates:
        return table
    by = next((name for name in (_SCORES if lesions == "best" else ()) + _SIZES if name in table), None)
    if by is not None:
        table = table.sort_values(by, ascending=False, kind="stable", na_position="last")
    chosen = table[~table.index.duplicated()]
    return chosen.loc[sorted(chosen.index, key=lambda name: (len(name), name))]
