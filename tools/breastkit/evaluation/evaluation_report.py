"""The evaluation of a segmenter: figures per case and slice, and a page with the worst cases first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pandas as pd
from ignite.engine import Engine, Events
from numpy.typing import NDArray

from breastkit.atomic import make_folder, write_figures, write_text
from breastkit.images import write_png
from breastkit.inference.axial_view import AxialView
from breastkit.metrics import Interval, bootstrap_interval, segmentation_metrics, slice_metrics
from breastkit.pictures import PREDICTION, TRUTH, grid
from breastkit.report.page import picture, render_page

# Facts of a picture that say where it is from; figures are told for each value.
ORIGINS = ("site", "device")
_PICTURED = 20


def decollated(engine: Engine) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yields the items of a batch with what the network made of each."""
    # ignite's types take batch and output for numbers.
    state: Any = engine.state
    yield from zip(state.batch, state.output, strict=True)


def origin_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Returns site and device of a picture, empty where the case list does not say."""
    return {fact: str(item.get(fact, "")) for fact in ORIGINS}


def by_origin(table: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Returns the rows of every site and of every device; of one alone there is nothing to tell apart."""
    groups = {fact: {str(name): rows for name, rows in table.groupby(fact) if name} for fact in ORIGINS}
    return {fact: rows for fact, rows in groups.items() if len(rows) > 1}


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

    labels: ClassVar[dict[str, str]] = {
        "dice": "Dice",
        "iou": "IoU",
        "hd95_mm": "HD95 in mm",
        "volume_error_ml": "volume error in ml",
    }
    # What the page says of its items.
    unit: ClassVar[str] = "case"
    looking: ClassVar[str] = "front at the top, the patient's right on the left"

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
        for batch, output in decollated(engine):
            case, scan = str(batch["case"]), batch["scan"]
            affine = np.asarray(scan.affine, dtype=np.float64)
            prediction = output["pred"][0].cpu().numpy() > 0
            truth = output["label"][0].cpu().numpy() > 0
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            self._rows.append({"case": case, **segmentation_metrics(prediction, truth, spacing=spacing)})
            rows = slice_metrics(prediction, truth, axis=int(np.abs(affine[2, :3]).argmax()))
            self._slices += [{"case": case, **row} for row in rows]
            view = AxialView(scan[0].cpu().numpy(), affine, {"truth": truth, "prediction": prediction})
            write_png(self.picture_of(case), _drawn(view))

    def finish(self, engine: Engine) -> None:
        """Writes tables, summary and page, and tells the engine the means."""
        table = pd.DataFrame(self._rows, columns=["case", *self.labels])
        write_text(self.folder / "metrics.csv", table.round(5).to_csv(index=False))
        write_text(self.folder / "slices.csv", pd.DataFrame(self._slices).round(5).to_csv(index=False))
        intervals = {metric: bootstrap_interval(table[metric]) for metric in self.labels}
        self._write_summary({"cases": len(table), "means_with_95_interval": intervals})
        engine.state.metrics.update({f"mean_{metric}": interval.value for metric, interval in intervals.items()})
        means = {self.labels[metric]: interval for metric, interval in intervals.items()}
        self._write_page(table.sort_values("dice", kind="stable"), means, name="case", columns=self.labels)

    def _write_summary(self, figures: Mapping[str, Any]) -> None:
        write_figures(self.folder / "summary.json", {**self.facts, **figures})

    def _write_page(
        self,
        worst_first: pd.DataFrame,
        means: Mapping[str, Interval],
        *,
        name: str,
        columns: Mapping[str, str],
        headline: Sequence[str] | None = None,
    ) -> None:
        rows = worst_first.to_dict("records")
        render_page(
            "evaluation.html",
            self.folder / "index.html",
            title=" ".join(str(self.facts[key]) for key in ("bundle", "architecture") if key in self.facts) or "Cases",
            unit=self.unit,
            looking=self.looking,
            facts=[(key.replace("_", " "), fact_text(value)) for key, value in self.facts.items() if value is not None],
            means=[
                {"name": label, "value": value_text(interval.value), "interval": range_text(interval)}
                for label, interval in means.items()
            ],
            headline=list(means if headline is None else headline),
            columns=list(columns.values()),
            cases=[{"name": row[name], "figures": [value_text(row[column]) for column in columns]} for row in rows],
            pictured=[
                {
                    "name": row[name],
                    "caption": ", ".join(f"{label} {value_text(row[column])}" for column, label in columns.items()),
                    "picture": picture(cv2.imread(str(self.picture_of(row[name])), cv2.IMREAD_COLOR_RGB)),
                }
                for row in rows[:_PICTURED]
            ],
        )

    def picture_of(self, case: str) -> Path:
        """Returns where the picture of a case lies."""
        # A case may be named like a path; its picture stays in the folder.
        name = "".join(letter if letter.isalnum() or letter in "-_. ()" else "_" for letter in case)
        return self.folder / "pictures" / f"{name}.png"


def value_text(value: Any) -> str:
    """Returns a figure with three digits behind the point, or one where it is 1 or more."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.3f}" if abs(value) < 1 else f"{value:.1f}"
    return str(value) if isinstance(value, str) else "–"


def fact_text(fact: Any) -> str:
    """Returns a fact in words."""
    if isinstance(fact, Mapping):
        return ", ".join(
            f"{key.replace('_', ' ')} {fact_text(value)}" for key, value in fact.items() if value is not None
        )
    return ", ".join(map(fact_text, fact)) if isinstance(fact, list | tuple) else str(fact)


def range_text(interval: Interval) -> str:
    """Returns the bounds of an interval in words."""
    if not math.isfinite(interval.low):
        return "too few cases"
    return f"{value_text(interval.low)} to {value_text(interval.high)}"


def _drawn(view: AxialView) -> NDArray[Any]:
    """Returns the slices with the most truth, the most difference and the most prediction."""
    differing = np.count_nonzero(view.masks["truth"] != view.masks["prediction"], axis=(0, 1))
    slices = [view.largest("truth"), int(differing.argmax()), view.largest("prediction")]
    outlined = [("truth", TRUTH), ("prediction", PREDICTION)]
    return grid(
        [[view.picture(k, outlined) for k in slices]],
        tile=320,
        column_titles=["largest in truth", "differing most", "largest predicted"],
    )
