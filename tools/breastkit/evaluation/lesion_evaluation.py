"""The evaluation of a lesion segmenter of MRI: by patient, by lesion and by slice, and false masks of empty slices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from ignite.engine import Engine
from numpy.typing import NDArray

from breastkit.atomic import write_text
from breastkit.dce.voxel_box import Grid
from breastkit.evaluation.evaluation_report import EvaluationReport, decollated
from breastkit.images import write_png
from breastkit.inference.axial_view import AxialView
from breastkit.metrics import Interval, bootstrap_interval
from breastkit.metrics.lesion_masks import lesion_rows, patient_metrics, slice_rows
from breastkit.pictures import PREDICTION, TRUTH, grid

# Outlines are looked at from this near: a lesion is a few voxels of a whole slice.
_CLOSE_MM = 60.0
_OF_SLICES = ("dice", "iou", "precision", "recall")


class LesionEvaluation(EvaluationReport):
    """Handler that measures every patient on the study's own grid and writes what came out.

    In the folder: ``metrics.csv``, a row a patient, whose columns are the figures of the whole patient in 3D (``dice,
    iou, precision, recall, hd95_mm, false_positive_voxels``), of its lesions (``lesion_…``, means over them) and of its
    slices: ``slice_…`` are means over the slices with a lesion, ``all_slices_dice`` the mean over all of them, which an
    empty slice enters with 1 where nothing was found, ``empty_slices_false_share`` how many of those without a lesion
    got a mask. Besides ``lesions.csv``, ``slices.csv``, ``summary.json`` (means with 95 % intervals over patients),
    ``index.html`` with the worst patients first, and ``pictures`` of the slice with the most true lesion, as a whole
    and close by. The batch must hold ``case`` and the ``scan``, the output the mask ``pred`` and the ``label`` on the
    scan's grid.

    Args:
        folder: the folder to write to.
        facts: what was evaluated: bundle, architecture, regions, split, threshold, case_list_hash…
    """

    labels: ClassVar[dict[str, str]] = {
        "dice": "Dice, patients in 3D",
        "iou": "IoU, patients in 3D",
        "precision": "precision, patients in 3D",
        "recall": "recall, patients in 3D",
        "hd95_mm": "HD95 in mm",
        "false_positive_voxels": "false-positive voxels",
        "lesion_dice": "Dice, lesions",
        "lesion_recall": "share of a lesion's voxels found",
        "lesions_found_share": "share of lesions touched",
        "slice_dice": "Dice, slices with a lesion",
        "slice_iou": "IoU, slices with a lesion",
        "slice_precision": "precision, slices with a lesion",
        "slice_recall": "recall, slices with a lesion",
        "all_slices_dice": "Dice, all slices",
        "empty_slices_false_share": "share of empty slices with a false mask",
    }
    unit = "patient"

    def start(self, engine: Engine) -> None:
        """Makes the folder and begins empty tables."""
        super().start(engine)
        self._lesions: list[dict[str, Any]] = []

    def measure(self, engine: Engine) -> None:
        """Measures and draws the patients of a batch."""
        for batch, output in decollated(engine):
            case, scan = str(batch["case"]), batch["scan"]
            affine = np.asarray(scan.affine, dtype=np.float64)
            prediction, truth = (output[key][0].cpu().numpy() > 0 for key in ("pred", "label"))
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            lesions = lesion_rows(prediction, truth)
            slices = slice_rows(*map(Grid.of(prediction.shape, affine).turn, (prediction, truth)))
            figures = patient_metrics(prediction, truth, spacing=spacing)
            self._rows.append({"case": case, "image": case, **figures, **_summed_up(lesions, slices)})
            self._lesions += [{"case": case, **row} for row in lesions]
            self._slices += [{"case": case, **row} for row in slices]
            view = AxialView(scan[0].cpu().numpy(), affine, {"truth": truth, "prediction": prediction})
            write_png(self.picture_of(case), _drawn(view))

    def finish(self, engine: Engine) -> None:
        """Writes tables, summary and page, and tells the engine the means."""
        table = pd.DataFrame(self._rows, columns=["case", "image", *self.labels])
        write_text(self.folder / "metrics.csv", table.round(5).to_csv(index=False))
        for name, rows in (("lesions", self._lesions), ("slices", self._slices)):
            write_text(self.folder / f"{name}.csv", pd.DataFrame(rows).round(5).to_csv(index=False))
        means: dict[str, Interval] = {metric: bootstrap_interval(table[metric]) for metric in self.labels}
        self._write_summary({"cases": len(table), "lesions": len(self._lesions), "means_with_95_interval": means})
        engine.state.metrics.update({f"mean_{metric}": interval.value for metric, interval in means.items()})
        shown = {name: self.labels[name] for name in ("dice", "lesion_dice", "slice_dice", "hd95_mm")}
        self._write_page(
            table.sort_values("dice", kind="stable"),
            {self.labels[metric]: interval for metric, interval in means.items()},
            name="case",
            columns=shown,
            headline=[self.labels[name] for name in ("dice", "lesion_dice", "slice_dice", "empty_slices_false_share")],
        )


def _summed_up(lesions: list[dict[str, Any]], slices: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the means of a patient over its lesions and slices; NaN, which no mean counts, where there is none."""
    held, empty = ([row for row in slices if bool(row["truth_voxels"]) is has] for has in (True, False))
    return {
        "lesion_dice": _mean([row["dice"] for row in lesions]),
        "lesion_recall": _mean([row["recall"] for row in lesions]),
        "lesions_found_share": _mean([row["found"] for row in lesions]),
        **{f"slice_{name}": _mean([row[name] for row in held]) for name in _OF_SLICES},
        "all_slices_dice": _mean([row["dice"] for row in slices]),
        "empty_slices_false_share": _mean([row["prediction_voxels"] > 0 for row in empty]),
    }


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _drawn(view: AxialView) -> NDArray[Any]:
    """Returns the slice with the most true lesion: as a whole, and around the lesion truth, prediction and both."""
    number = view.largest("truth")
    window = view.around("truth", number, least_mm=_CLOSE_MM)
    truth, found = ("truth", TRUTH), ("prediction", PREDICTION)
    close = [view.picture(number, outlined)[window] for outlined in ([truth], [found], [truth, found])]
    return grid([[view.picture(number), *close]], tile=400, column_titles=["image", "truth", "prediction", "overlay"])
