"""What inference of the picture bundles writes for every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from breastkit.images import write_png
from breastkit.inference.results import Results
from breastkit.metrics.segmentation import bounding_box
from breastkit.pictures import PREDICTION, overlay

BOX = ("x_min", "y_min", "x_max", "y_max")
COLUMNS = ("file", "mask", "area_px", *BOX, "confidence")


@dataclass(eq=False)
class PictureOutputs(Results):
    """Handler that writes, on every picture's own grid, the mask, an overlay and, on request, the probability.

    For a picture ``x.png``: ``x_mask.png`` (0 and 255), ``x_overlay.png`` and, where asked for, ``x_probability.png``
    (0 to 255 for 0 to 1). For all of them: ``predictions.csv`` and, where inputs were left out, ``problems.csv``. The
    box of a mask is that of all its pieces, both ends inside; an empty mask has none. The confidence is the mean
    probability inside the mask, 0 where it is empty. On request there are, where several
    members answered, ``x_uncertainty.png`` (their standard deviation, white at its largest possible value 0.5) and the
    column ``uncertainty``, how far they disagree. Of a network of several tasks there is a column ``p_<head>`` for what
    each head says of the whole picture.

    The batch must hold the ``picture`` as it was read, the output the mask ``pred`` and its ``probability``, and
    ``p_<head>`` of every head.

    Args:
        output_dir: the folder to write to.
        inputs: what inference was given.
        dataset: knows which inputs could not be used.
        overlays: write the overlays.
        probability: write the probabilities.
        uncertainty: write how far the members disagree.
        heads: of a network of several tasks.
    """

    outputs = ("_overlay", "_probability", "_uncertainty")
    beside_inputs: ClassVar[bool] = False

    overlays: bool = True
    probability: bool = False
    uncertainty: bool = False
    heads: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.columns = [*COLUMNS, *(f"p_{head}" for head in self.heads), *(["uncertainty"] if self.uncertainty else [])]

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the files of one picture and adds its row."""
        picture = batch["picture"][0].cpu().numpy().round().astype(np.uint8)
        mask = output["pred"][0].cpu().numpy() > 0
        probability = output["probability"][0].cpu().numpy()
        files = {"_mask": mask * np.uint8(255)}
        if self.overlays:
            files["_overlay"] = overlay(picture, mask, PREDICTION)
        if self.probability:
            files["_probability"] = (probability * 255).round()
        if self.uncertainty:
            files["_uncertainty"] = (output["pred_spread"][0].cpu().numpy() * 510).round()
        for end, array in files.items():
            write_png(self.folder / f"{batch['name']}{end}.png", array)
        row: dict[str, Any] = {
            "file": Path(batch["image"].meta["filename_or_obj"]).name,
            "mask": f"{batch['name']}_mask.png",
        }
        row |= measure_mask(mask, probability) | {f"p_{head}": round(output[f"p_{head}"], 4) for head in self.heads}
        if self.uncertainty:
            row["uncertainty"] = round(float(output["pred_disagreement"]), 4)
        self.rows.append(row)


def measure_mask(mask: NDArray[Any], probability: NDArray[Any]) -> dict[str, float | int | None]:
    """Returns area, box (both ends inside) and confidence of a mask."""
    if not mask.any():
        return {"area_px": 0, **dict.fromkeys(BOX), "confidence": 0.0}
    rows, columns = bounding_box(mask)
    box = (columns.start, rows.start, columns.stop - 1, rows.stop - 1)
    confidence = round(float(probability[mask].mean(dtype=np.float64)), 4)
    return {"area_px": int(mask.sum()), **dict(zip(BOX, box, strict=True)), "confidence": confidence}
