"""The evaluation of a segmenter: figures per case and slice, and a page with the worst cases first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from ignite.engine import Engine, Events

from breastkit.atomic import make_folder, write_json, write_text
from breastkit.images import write_png
from breastkit.inference.axial_view import AxialView
from breastkit.metrics import Interval, bootstrap_interval, segmentation_metrics, slice_metrics
from breastkit.pictures import PREDICTION, TRUTH, grid
from breastkit.report.page import picture, render_page

_LABELS = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 in mm", "volume_error_ml": "volume error in ml"}
METRICS = tuple(_LABELS)
_PICTURED = 20


class EvaluationReport:
    """Handler that measures every case on its own grid and writes what came out.

    In the folder: ``metrics.csv`` (``case, dice, iou, hd95_mm, volume_error_ml``), ``slices.csv`` (areas, Dice and IoU
    of every axial slice), ``summary.json`` (means with 95 % intervals and the facts given), ``index.html`` with the
    worst cases first, and a picture of each in ``pictures``. The means are also the engine's metrics ``mean_dice`` and
    so on. The batch must hold ``case`` and the ``scan`` as it was read, the output the mask ``pred`` and the ``label``
    on the scan's grid.

    Args:
        folder: the folder to write to.
        facts: what was evaluated: bundle, architecture, split, threshold, case_list_hash…
    """

    def __init__(self, folder: str | Path, *, facts: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.facts = dict(facts or {})
        self._rows: list[dict[str, Any]] = []
        self._slices: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator that decollates."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.measure)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Makes the folder, before hours of work."""
        make_folder(self.folder)
        self._rows, self._slices = [], []

    def measure(self, engine: Engine) -> None:
        """Measures and draws the cases of a batch."""
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            case, scan = str(batch["case"]), batch["scan"]
            affine = np.asarray(scan.affine, dtype=np.float64)
            prediction = output["pred"][0].cpu().numpy() > 0
            truth = output["label"][0].cpu().numpy() > 0
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            self._rows.append({"case": case, **segmentation_metrics(prediction, truth, spacing=spacing)})
            rows = slice_metrics(prediction, truth, axis=int(np.abs(affine[2, :3]).argmax()))
            self._slices += [{"case": case, **row} for row in rows]
            view = AxialView(scan[0].cpu().numpy(), affine, {"truth": truth, "prediction": prediction})
            write_png(self._picture(case), _drawn(view))

    def finish(self, engine: Engine) -> None:
        """Writes tables, summary and page, and tells the engine the means."""
        table = pd.DataFrame(self._rows, columns=["case", *METRICS])
        write_text(self.folder / "metrics.csv", table.round(5).to_csv(index=False))
        write_text(self.folder / "slices.csv", pd.DataFrame(self._slices).round(5).to_csv(index=False))
        intervals = {metric: bootstrap_interval(table[metric]) for metric in METRICS}
        figures = {metric: [_or_none(value) for value in interval] for metric, interval in intervals.items()}
        write_json(self.folder / "summary.json", {**self.facts, "cases": len(table), "means_with_95_interval": figures})
        engine.state.metrics.update({f"mean_{metric}": interval.value for metric, interval in intervals.items()})
        self._write_page(table.sort_values("dice", kind="stable"), intervals)

    def _write_page(self, worst_first: pd.DataFrame, intervals: Mapping[str, Interval]) -> None:
        rows = worst_first.to_dict("records")
        means = [
            {"name": _LABELS[metric], "value": _text(interval.value), "interval": _range(interval)}
            for metric, interval in intervals.items()
        ]
        render_page(
            "evaluation.html",
            self.folder / "index.html",
            title=" ".join(str(self.facts[key]) for key in ("bundle", "architecture") if key in self.facts) or "Cases",
            facts=[(key.replace("_", " "), value) for key, value in self.facts.items() if value is not None],
            means=means,
            columns=list(_LABELS.values()),
            cases=[{"name": row["case"], "figures": [_text(row[metric]) for metric in METRICS]} for row in rows],
            pictured=[
                {
                    "name": row["case"],
                    "caption": ", ".join(f"{label} {_text(row[metric])}" for metric, label in _LABELS.items()),
                    "picture": picture(cv2.imread(str(self._picture(row["case"])), cv2.IMREAD_COLOR_RGB)),
                }
                for row in rows[:_PICTURED]
            ],
        )

    def _picture(self, case: str) -> Path:
        # A case may be named like a path; its picture stays in the folder.
        name = "".join(letter if letter.isalnum() or letter in "-_. ()" else "_" for letter in case)
        return self.folder / "pictures" / f"{name}.png"


def _or_none(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None


def _text(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.1f}"


def _range(interval: Interval) -> str:
    if not math.isfinite(interval.low):
        return "too few cases"
    return f"{_text(interval.low)} to {_text(interval.high)}"


def _drawn(view: AxialView) -> np.ndarray:
    """Returns the slices with the most truth, the most difference and the most prediction."""
    differing = np.count_nonzero(view.masks["truth"] != view.masks["prediction"], axis=(0, 1))
    slices = [view.largest("truth"), int(differing.argmax()), view.largest("prediction")]
    outlined = [("truth", TRUTH), ("prediction", PREDICTION)]
    return grid(
        [[view.picture(k, outlined) for k in slices]],
        tile=320,
        column_titles=["largest in truth", "differing most", "largest predicted"],
    )
