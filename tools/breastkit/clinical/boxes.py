"""Lesion boxes of Duke's workbook as a table of features."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from breastkit.atomic import write_text
from breastkit.clinical.table import Column, read_clinical
from breastkit.datasets.duke import read_annotation_boxes
from breastkit.datasets.tissue import patient_id
from breastkit.errors import BreastkitError

_ACQUISITION = ("fov_computed_field_of_view_in_cm", "columns", "slice_thickness")


def boxes_as_features(annotation_boxes: str, *, out: str, clinical: str | None = None) -> Path:
    """Turns the lesion boxes of Duke-Breast-Cancer-MRI into a table of features.

    The workbook of boxes tells no voxel size, so lengths and volumes are in voxels. The clinical workbook tells field
    of view, columns and slice thickness: with it there is volume_mm3 too, empty where one of them is missing. Slices
    may lie closer than they are thick; then it is too large.

    Args:
        annotation_boxes: Annotation_Boxes.xlsx.
        clinical: Clinical_and_Other_Features.xlsx.
        out: the table to write: patient_id, volume_voxels, rows, columns, slices, longest_side_voxels and elongation,
            the longest side by the shortest.

    Returns:
        The table.

    Raises:
        BreastkitError: if the workbook cannot be read or holds no box.
    """
    voxels = _voxels_mm3(clinical) if clinical else {}
    rows = []
    for name, box in read_annotation_boxes(annotation_boxes).items():
        rows_, columns, slices = (box[f"{axis}_max"] - box[f"{axis}_min"] + 1 for axis in ("row", "col", "slice"))
        sides = (rows_, columns, slices)
        count = rows_ * columns * slices
        rows.append(
            {
                "patient_id": patient_id(name),
                "volume_voxels": count,
                **({"volume_mm3": count * voxels.get(patient_id(name), math.nan)} if clinical else {}),
                "rows": rows_,
                "columns": columns,
                "slices": slices,
                "longest_side_voxels": max(sides),
                "elongation": round(max(sides) / min(sides), 4),
            }
        )
    if not rows:
        raise BreastkitError(f"{annotation_boxes} holds no box; fetch it again.")
    return write_text(out, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))


def _voxels_mm3(clinical: str) -> dict[str, float]:
    """Returns the volume of a voxel of every patient whose acquisition the clinical workbook tells in full."""
    table = read_clinical(clinical)
    view, columns, thickness = (_spelled(column) for column in table.chosen(_ACQUISITION))
    # The title says cm; 340 of a breast are mm.
    return dict(((view / columns) ** 2 * thickness).dropna().items())


def _spelled(column: Column) -> pd.Series[float]:
    """Returns the numbers that the codes of a column stand for."""
    return column.labels.astype(float)
