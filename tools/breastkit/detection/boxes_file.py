"""What a detector found in a study, and the file that holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastkit.atomic import write_json
from breastkit.dce.voxel_box import Grid, VoxelBox
from breastkit.errors import BreastkitError


@dataclass(frozen=True)
class Detection:
    """Something that may be a lesion.

    Attributes:
        score: from 0 to 1.
        box: around all of it, on the study's own grid.
        parts: its boxes slice by slice, where they are known.
    """

    score: float
    box: VoxelBox
    parts: tuple[Detection, ...] = ()

    @property
    def boxes(self) -> list[VoxelBox]:
        """Where it lies: slice by slice where that is known."""
        return [part.box for part in self.parts] or [self.box]


def write_boxes(path: str | Path, study: str | Path, shape: Sequence[int], lesions: Sequence[Detection]) -> Path:
    """Writes the lesion candidates of a study, and returns the path.

    Bounds count from 0 and include both ends, along the axes of the study's own grid, which are called column, row and
    slice; for DICOM the slices are in the order of InstanceNumber.

    Args:
        path: the file to write.
        study: what they were found in.
        shape: of its grid.
        lesions: see `breastkit.detection.detect_lesions`.
    """
    entries = [
        {
            "score": lesion.score,
            **lesion.box.bounds,
            "boxes": [{"slice": part.box.low[2], **part.box.bounds, "score": part.score} for part in lesion.parts],
        }
        for lesion in lesions
    ]
    return write_json(path, {"file": str(study), "shape": [int(size) for size in shape], "lesions": entries})


def read_boxes(path: str | Path, grid: Grid) -> list[Detection]:
    """Returns what a detector found in a study, the highest score first.

    Args:
        path: the ``x_boxes.json`` it wrote.
        grid: of the study.

    Raises:
        BreastkitError: if there is no such file, it holds something else or belongs to a study of another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; run the lesion detector on this study first, or give --boxes.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        lesions, theirs = [_lesion(each, grid) for each in found["lesions"]], tuple(int(n) for n in found["shape"])
    except (ValueError, KeyError, TypeError) as error:
        raise BreastkitError(f"{path} holds no boxes of a lesion detector; let it write them again.") from error
    if theirs != grid.shape:
        raise BreastkitError(
            f"{path} holds boxes of a scan of shape {theirs}, but this study has {grid.shape}; give its own."
        )
    if not all(box.inside for lesion in lesions for box in (lesion.box, *lesion.boxes)):
        raise BreastkitError(f"{path} holds a box that does not lie in the study; let the detector write it again.")
    return sorted(lesions, key=lambda lesion: -lesion.score)


def _lesion(entry: Mapping[str, Any], grid: Grid) -> Detection:
    parts = tuple(_part(part, entry["score"], grid) for part in entry.get("boxes") or [])
    return Detection(float(entry["score"]), VoxelBox.of_bounds(entry, grid), parts)


def _part(entry: Mapping[str, Any], score: float, grid: Grid) -> Detection:
    # Of a box in a single slice a file may tell the number of the slice alone.
    number = entry.get("slice")
    bounds = {"slice_min": number, "slice_max": number, **entry}
    return Detection(float(entry.get("score", score)), VoxelBox.of_bounds(bounds, grid))
