"""The evaluation of a segmenter of pictures: lesion images and all images apart, false masks where there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from ignite.engine import Engine
from numpy.typing import NDArray

from breastkit.atomic import write_text
from breastkit.evaluation.evaluation_report import ORIGINS, EvaluationReport, by_origin, decollated, origin_of
from breastkit.images import stem, write_png
from breastkit.metrics import Interval, dice, grouped_interval, hd95, iou, share_interval
from breastkit.metrics.class_figures import grouped_auc
from breastkit.metrics.classification import MALIGNANT
from breastkit.pictures import PREDICTION, TRUTH, grid, outline
from breastkit.report.page import plural

HEADS = ("p_lesion", "p_malignant")
_AREAS = {"auc_lesion": "AUC of a lesion being there", "auc_malignant": "AUC of malignant against benign"}


class PictureEvaluation(EvaluationReport):
    """Handler that measures every picture on its own grid and writes what came out.

    In the folder: ``metrics.csv`` (``case, image, class, site, device, lesion, found, dice, iou, hd95_px``; `lesion`
    and `found` say whether the true and the predicted mask hold anything), ``summary.json``, ``index.html`` with the
    worst pictures first, and each of them in ``pictures``. Means are given for the pictures with a lesion, for all, for
    every class, and for every site and device where there are several; with 95 % intervals that count the pictures of a
    case as one. A picture without lesion has Dice 1 where nothing was found and 0 otherwise; the share of the latter is
    given by itself. Where the network says besides how probable a lesion is and that it is malignant, there are columns
    ``p_lesion`` and ``p_malignant`` and the areas under their ROC curves. The batch must hold ``case`` and the
    ``picture`` as it was read, the output the mask ``pred`` and the ``label`` on the picture's grid.

    Args:
        folder: the folder to write to.
        facts: what was evaluated: bundle, architecture, split, threshold, case_list_hash…
    """

    labels: ClassVar[dict[str, str]] = {"dice": "Dice", "iou": "IoU", "hd95_px": "HD95 in pixels"}
    unit = "image"
    looking = ""
    _columns = ("case", "image", "class", *ORIGINS, "lesion", "found")

    def start(self, engine: Engine) -> None:
        """Makes the folder and forgets the names of an earlier run."""
        super().start(engine)
        self._stems: set[str] = set()

    def measure(self, engine: Engine) -> None:
        """Measures and draws the pictures of a batch."""
        for batch, output in decollated(engine):
            prediction = output["pred"][0].cpu().numpy() > 0
            truth = output["label"][0].cpu().numpy() > 0
            name = self._name(batch)
            lesion, found = bool(truth.any()), bool(prediction.any())
            facts = {
                "case": str(batch.get("case", name)),
                "image": name,
                "class": str(batch.get("class", "")),
                **origin_of(batch),
            }
            overlaps = {
                "dice": dice(prediction, truth),
                "iou": iou(prediction, truth),
                "hd95_px": hd95(prediction, truth),
            }
            heads = {head: output[head] for head in HEADS if head in output}
            self._rows.append({**facts, "lesion": lesion, "found": found, **overlaps, **heads})
            gray = batch["picture"][0].cpu().numpy().round().astype(np.uint8)
            write_png(self.picture_of(name), _drawn(gray, truth, prediction))

    def finish(self, engine: Engine) -> None:
        """Writes table, summary and page, and tells the engine the means."""
        heads = [head for head in HEADS if head in self._rows[0]]
        table = pd.DataFrame(self._rows, columns=[*self._columns, *self.labels, *heads])
        write_text(self.folder / "metrics.csv", table.round(5).to_csv(index=False))
        everything, with_lesion = self._means(table), self._means(table[table["lesion"]])
        empty = table[~table["lesion"]]
        of_class = {str(name): rows for name, rows in table.groupby("class") if name}
        class_means = {name: self._means(rows) for name, rows in of_class.items()}
        classes = {name: {"images": len(rows), **class_means[name]} for name, rows in of_class.items()}
        origins = {
            f"{fact}s": {name: self._summary_of(rows) for name, rows in groups.items()}
            for fact, groups in by_origin(table).items()
        }
        self._write_summary({**self._summary_of(table), "classes": classes, **origins})
        engine.state.metrics.update({f"mean_{metric}": interval.value for metric, interval in everything.items()})
        engine.state.metrics.update({f"lesion_{metric}": interval.value for metric, interval in with_lesion.items()})
        means = self._labelled(with_lesion, f"{len(table) - len(empty)} lesion images")
        headline = list(means)
        if len(empty):
            means |= self._labelled(everything, f"all {len(table)} images")
            means[f"Share of the {plural(len(empty), 'image')} without lesion that got a mask"] = _false_masks(empty)
            headline = [label for label in means if "Dice" in label or "Share" in label]
        for name, figures in class_means.items():
            means[f"Dice, {len(of_class[name])} {name}"] = figures["dice"]
        means |= {f"{_AREAS[name]}, all images": area for name, area in head_figures(table).items()}
        for groups in by_origin(table[table["lesion"]]).values():
            for name, rows in groups.items():
                means[f"Dice, {len(rows)} lesion images of {name}"] = grouped_interval(rows["dice"], rows["case"])
        worst_first = table.sort_values(["dice", "hd95_px"], ascending=[True, False], kind="stable")
        columns = {"class": "class", **self.labels} if classes else self.labels
        self._write_page(worst_first, means, name="image", columns=columns, headline=headline)

    def _summary_of(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Returns the figures of images: all of them, or those of one site."""
        lesions, empty = rows[rows["lesion"]], rows[~rows["lesion"]]
        return {
            "cases": int(rows["case"].nunique()),
            "images": len(rows),
            "lesion_images": {
                "images": len(lesions),
                "without_mask": int((~lesions["found"]).sum()),
                **self._means(lesions),
            },
            "all_images": {"images": len(rows), **self._means(rows)},
            "images_without_lesion": {"images": len(empty), "share_with_false_mask": _false_masks(empty)},
            **head_figures(rows),
        }

    def _means(self, rows: pd.DataFrame) -> dict[str, Interval]:
        return {metric: grouped_interval(rows[metric], rows["case"]) for metric in self.labels}

    def _labelled(self, figures: Mapping[str, Interval], which: str) -> dict[str, Interval]:
        return {f"{self.labels[metric]}, {which}": interval for metric, interval in figures.items()}

    def _name(self, batch: Mapping[str, Any]) -> str:
        """Returns the name of a picture's file, with its folder's where another one is called the same."""
        path = Path(batch["picture"].meta["filename_or_obj"])
        name = f"{path.parent.name}/{path.name}" if stem(path) in self._stems else path.name
        self._stems.add(stem(path))
        return name

    def picture_of(self, case: str) -> Path:
        """Returns where the picture of an image lies."""
        return super().picture_of(str(Path(case).with_name(stem(case))))


def head_figures(rows: pd.DataFrame) -> dict[str, Interval]:
    """Returns the areas under the ROC curves of what a network says of whole images, where it says anything."""
    if not set(HEADS) <= set(rows):
        return {}
    classed = rows[rows["class"].isin(["benign", MALIGNANT])]
    return {
        "auc_lesion": grouped_auc(rows["p_lesion"], rows["lesion"], rows["case"]),
        "auc_malignant": grouped_auc(classed["p_malignant"], classed["class"] == MALIGNANT, classed["case"]),
    }


def _false_masks(without_lesion: pd.DataFrame) -> Interval:
    return share_interval(int(without_lesion["found"].sum()), len(without_lesion))


def _drawn(gray: NDArray[Any], truth: NDArray[Any], prediction: NDArray[Any]) -> NDArray[Any]:
    """Returns the picture as it is, with the truth and with both outlines; `draw_comparison` takes them apart again."""
    width = max(1, round(max(gray.shape) / 300))
    true = outline(gray, truth, TRUTH, width=width)
    both = outline(true, prediction, PREDICTION, width=width)
    return grid([[gray, true, both]], tile=400, column_titles=["image", "truth", "truth and prediction"])
