"""The evaluation of a classifier of pictures: figures with intervals, calibration, abstention, and who was wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from ignite.engine import Engine
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from breastkit.atomic import write_text
from breastkit.evaluation import classification_plots as plots
from breastkit.evaluation.evaluation_report import (
    ORIGINS,
    EvaluationReport,
    by_origin,
    decollated,
    fact_text,
    origin_of,
    range_text,
    value_text,
)
from breastkit.images import stem, write_png
from breastkit.metrics import Interval, class_probabilities, grouped_interval
from breastkit.metrics.class_figures import class_figures
from breastkit.metrics.classification import MALIGNANT, suspicious
from breastkit.pictures import PREDICTION, grid, outline
from breastkit.report.page import picture, render_page
from breastkit.training.decision_search import choose_rule

_WORST = 20
_PARTS = 5
LABELS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "specificity": "specificity",
    "auc": "AUC",
    "calibration_error": "calibration error (ECE)",
    "macro_f1": "macro F1",
    "suspicious_recall": "recall of malignant at the operating point (suspicious)",
    "suspicious_specificity": "specificity at the operating point",
    "suspicious_accuracy": "accuracy at the operating point, malignant or not",
}


class ClassificationEvaluation(EvaluationReport):
    """Handler that collects a classifier's logits of all pictures and writes what they are worth.

    In the folder: ``metrics.csv`` (``case, image, class, site, device, p_<class>…, predicted, correct, suspicious,
    uncertainty, abstain, mask_dice``), ``summary.json`` (figures with 95 % intervals that count the pictures of a case
    as one, for every site and device too where there are several, and the facts given), ``index.html`` with plots and
    the pictures it was most wrong about, and every picture in ``pictures``. The figures are also the engine's metrics.

    Where no rule is given, temperature, operating point and abstention are chosen on four fifths of the cases and used
    on the fifth left out, in turn: what was chosen on pictures is never judged by them.

    Args:
        folder: the folder to write to.
        classes: names of the classes in order.
        rule: ``temperature``, ``threshold`` and ``abstain_above``, chosen elsewhere.
        prevalence: share of malignant ones at which the decision curve is drawn.
        facts: what was evaluated: bundle, architecture, split, case_list_hash…
    """

    unit = "image"

    def __init__(
        self,
        folder: str | Path,
        *,
        classes: Sequence[str],
        rule: Mapping[str, float] | None = None,
        prevalence: float = 0.3,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder, facts=facts)
        self.classes, self.rule, self.prevalence = list(classes), rule, float(prevalence)
        if not 0 < self.prevalence < 1:
            raise ValueError(f"prevalence must lie between 0 and 1, got {prevalence}.")

    def start(self, engine: Engine) -> None:
        """Makes the folder and forgets an earlier run."""
        super().start(engine)
        self._logits: list[NDArray[Any]] = []

    def measure(self, engine: Engine) -> None:
        """Collects and draws the pictures of a batch."""
        for batch, output in decollated(engine):
            self._logits.append(output["pred"].detach().cpu().double().numpy())
            name = Path(batch["picture"].meta["filename_or_obj"]).name
            row = {
                "case": str(batch.get("case", name)),
                "image": name,
                "class": str(batch["class"]),
                **origin_of(batch),
            }
            self._rows.append({**row, "mask_dice": self._mask_dice(batch)})
            gray = batch["picture"][0].cpu().numpy().round().astype(np.uint8)
            write_png(self.picture_of(name), _drawn(gray, batch))

    def _mask_dice(self, batch: Mapping[str, Any]) -> float:
        masks = self.facts.get("masks", "predicted")
        return {"truth": 1.0, "predicted": float(batch.get("predicted_dice", np.nan))}.get(masks, np.nan)

    def finish(self, engine: Engine) -> None:
        """Decides, measures and writes."""
        table = pd.DataFrame(self._rows)
        labels = table["class"].map(self.classes.index).to_numpy()
        answers, rules = self._answers(np.stack(self._logits), labels, table["case"])
        table = pd.concat([table[["case", "image", "class", *ORIGINS]], answers, table["mask_dice"]], axis=1)
        engine.state.metrics.update({name: interval.value for name, interval in self.write(table, rules).items()})

    def write(self, table: pd.DataFrame, rules: Mapping[str, Any]) -> dict[str, Interval]:
        """Measures answers, writes table, summary and page, and returns the figures.

        Args:
            table: the columns of ``metrics.csv``; the picture of every image is there already.
            rules: by what was decided.
        """
        write_text(self.folder / "metrics.csv", table.round(5).to_csv(index=False))
        figures = figures_of_answers(table, self.classes)
        origins = {
            f"{fact}s": {
                name: {"images": len(rows), "figures": figures_of_answers(rows, self.classes)}
                for name, rows in groups.items()
            }
            for fact, groups in by_origin(table).items()
        }
        labels, decided = (table[column].map(self.classes.index).to_numpy() for column in ("class", "predicted"))
        confusion = np.zeros((len(self.classes),) * 2, dtype=int)
        np.add.at(confusion, (labels, decided), 1)
        self._write_summary(
            {
                "cases": int(table["case"].nunique()),
                "images": len(table),
                "classes": table["class"].value_counts().to_dict(),
                "rule": rules,
                "figures": figures,
                "confusion": {
                    name: dict(zip(self.classes, map(int, row), strict=True))
                    for name, row in zip(self.classes, confusion, strict=True)
                },
                "prevalence_of_decision_curve": self.prevalence,
                **origins,
            }
        )
        self._write_classification_page(table, figures, confusion, rules)
        return figures

    def _answers(
        self, logits: NDArray[Any], labels: NDArray[Any], cases: pd.Series
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Returns one row per picture, and what is to be said of the rule."""
        if self.rule is not None:
            return self._answers_by(self.rule, logits, labels), {**self.rule, "chosen": "with the weights"}
        parts, rules = [], []
        for tuned, judged in parts_of(labels, cases):
            rules.append(choose_rule(logits[tuned], labels[tuned], self.classes))
            part = self._answers_by(rules[-1], logits[judged], labels[judged])
            parts.append(part.set_index(judged))
        chosen_rule = {
            name: [round(rule[name], 4) for rule in rules] for name in ("temperature", "threshold", "abstain_above")
        }
        chosen = f"on the other cases of this list, in {len(rules)} parts"
        return pd.concat(parts).sort_index(), {**chosen_rule, "chosen": chosen}

    def _answers_by(self, rule: Mapping[str, float], logits: NDArray[Any], labels: NDArray[Any]) -> pd.DataFrame:
        probabilities, uncertainty = class_probabilities(logits, rule["temperature"])
        decided = probabilities.argmax(1)
        rows = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in self.classes])
        rows["predicted"] = [self.classes[index] for index in decided]
        rows["correct"] = (decided == labels).astype(int)
        rows["suspicious"] = suspicious(probabilities, self.classes, rule["threshold"])
        rows["uncertainty"] = uncertainty
        rows["abstain"] = uncertainty > rule["abstain_above"]
        return rows

    def _write_classification_page(
        self, table: pd.DataFrame, figures: Mapping[str, Interval], confusion: NDArray[Any], rules: Mapping[str, Any]
    ) -> None:
        names = {**LABELS, "share_answered": "share answered", "accuracy_answered": "accuracy where answered"}
        names["mask_dice"] = "Dice of the masks"
        headline = ("accuracy", "suspicious_recall", "suspicious_specificity", "auc", "macro_f1", "accuracy_answered")
        is_true = table.apply(lambda row: row[f"p_{row['class']}"], axis=1)
        worst = table.assign(surprise=1 - is_true).sort_values("surprise", ascending=False, kind="stable")
        render_page(
            "classification.html",
            self.folder / "index.html",
            title=" ".join(str(self.facts[key]) for key in ("bundle", "architecture") if key in self.facts) or "Images",
            facts=[(key.replace("_", " "), fact_text(value)) for key, value in self.facts.items() if value is not None],
            rules=[(key.replace("_", " "), _range_of(value)) for key, value in rules.items()],
            upper_bound=self.facts.get("masks") == "truth",
            images=len(table),
            cases=table["case"].nunique(),
            figures=[
                {
                    "name": names.get(name, name.replace("_", ", ", 1)),
                    "value": value_text(interval.value),
                    "interval": range_text(interval),
                    "headline": name in headline,
                }
                for name, interval in _malignant_first(figures).items()
                if np.isfinite(interval.value)
            ],
            classes=self.classes,
            confusion=confusion.tolist(),
            plots=self._plots(table),
            prevalence=self.prevalence,
            pictured=[
                {"name": row["image"], "caption": self._caption(row), "picture": self._picture(row["image"])}
                for row in worst.head(_WORST).to_dict("records")
            ],
            wrong=int((table["correct"] == 0).sum()),
        )

    def _plots(self, table: pd.DataFrame) -> list[dict[str, str]]:
        classes = self.classes
        probabilities = table[[f"p_{name}" for name in classes]].to_numpy()
        malignant, probability = (table["class"] == MALIGNANT).to_numpy(), table[f"p_{MALIGNANT}"].to_numpy()
        drawn = [
            (plots.roc_curves(probabilities, table["class"], classes), "ROC: one class against the rest."),
            (plots.precision_recall_curves(probabilities, table["class"], classes), "Precision and recall."),
            (
                plots.reliability(probability, malignant),
                "Of pictures with this probability of malignant, the share that is; larger dots are more pictures.",
            ),
            (
                plots.accuracy_by_coverage(table["correct"].to_numpy(), table["uncertainty"].to_numpy()),
                "Accuracy where the most uncertain pictures are left to a reader.",
            ),
            (
                plots.decision_curve(probability, malignant, prevalence=self.prevalence),
                f"Net benefit of acting on the probability of malignant, at a prevalence of {self.prevalence:.0%}.",
            ),
        ]
        return [{"picture": picture(figure), "caption": caption} for figure, caption in drawn if figure is not None]

    def _caption(self, row: Mapping[str, Any]) -> str:
        numbers = ", ".join(f"{name} {row[f'p_{name}']:.2f}" for name in self.classes)
        numbers += f"; uncertainty {row['uncertainty']:.2f}{', abstained' if row['abstain'] else ''}"
        return (
            f"is {row['class']}, called {row['predicted']}{' and suspicious' if row['suspicious'] else ''} ({numbers})"
        )

    def _picture(self, name: str) -> str:
        return picture(cv2.imread(str(self.picture_of(name)), cv2.IMREAD_COLOR_RGB))

    def picture_of(self, case: str) -> Path:
        """Returns where the picture of an image lies."""
        return super().picture_of(stem(case))


def figures_of_answers(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Interval]:
    """Returns the figures of the classes, of what was flagged, and of what was abstained from.

    Args:
        table: answers, with the columns of ``metrics.csv``.
        classes: their names in order.
    """
    labels, decided = (table[column].map(list(classes).index).to_numpy() for column in ("class", "predicted"))
    probabilities = table[[f"p_{name}" for name in classes]].to_numpy()
    malignant, flagged = table["class"] == MALIGNANT, table["suspicious"].astype(bool)
    answered = table[~table["abstain"]]
    return {
        **class_figures(probabilities, decided, labels, classes, table["case"]),
        "suspicious_recall": grouped_interval(flagged[malignant], table["case"][malignant]),
        "suspicious_specificity": grouped_interval(~flagged[~malignant], table["case"][~malignant]),
        "suspicious_accuracy": grouped_interval(flagged == malignant, table["case"]),
        "share_answered": grouped_interval(~table["abstain"], table["case"]),
        "accuracy_answered": grouped_interval(answered["correct"], answered["case"]),
        "mask_dice": grouped_interval(table["mask_dice"], table["case"]),
    }


def parts_of(labels: NDArray[Any], cases: pd.Series) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Returns indices to choose on and to judge, by case and class; one part where there are too few cases."""
    groups = pd.factorize(cases)[0]
    fewest = min(len(set(groups[labels == label])) for label in set(labels))
    everything = np.arange(len(labels))
    if fewest < 2:
        return [(everything, everything)]
    folds = StratifiedGroupKFold(min(_PARTS, fewest), shuffle=True, random_state=0)
    return list(folds.split(everything, labels, groups))


def _malignant_first(figures: Mapping[str, Interval]) -> dict[str, Interval]:
    """Returns the figures with those of what must not be missed before the others of single classes."""
    first = ("accuracy", f"recall_{MALIGNANT}", "specificity", "auc", f"precision_{MALIGNANT}", f"f1_{MALIGNANT}")
    return {name: figures[name] for name in (*first, *(name for name in figures if name not in first))}


def _range_of(value: Any) -> str:
    return f"{min(value):.3f} to {max(value):.3f}" if isinstance(value, list) else fact_text(value)


def _drawn(gray: NDArray[Any], batch: Mapping[str, Any]) -> NDArray[Any]:
    """Returns the picture as it is, and with the mask the classifier looked at."""
    tiles = [gray]
    if "mask_picture" in batch:
        width = max(1, round(max(gray.shape) / 300))
        tiles.append(outline(gray, batch["mask_picture"][0].cpu().numpy() > 0, PREDICTION, width=width))
    return grid([tiles], tile=320)
