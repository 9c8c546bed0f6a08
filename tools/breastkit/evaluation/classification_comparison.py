"""Classifiers side by side: figures over all pictures of a method's folds, and paired tests of their areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from breastkit.errors import BreastkitError
from breastkit.metrics import grouped_interval
from breastkit.metrics.class_figures import class_figures, group_weights, weighted_auc
from breastkit.metrics.classification import MALIGNANT

# Figures of the table people read, and what they are called there.
SHOWN = {
    "accuracy": "accuracy",
    f"recall_{MALIGNANT}": "malignant recall",
    "specificity": "specificity",
    "auc": "AUC",
    f"precision_{MALIGNANT}": "malignant precision",
    "macro_f1": "macro F1",
    "calibration_error": "ECE",
    "mask_dice": "Dice of the masks",
}


def per_image_figures(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a classifier's table with what can be averaged over images in place of its probabilities."""
    malignant, called = table["class"] == MALIGNANT, table["predicted"] == MALIGNANT
    figures = {
        "accuracy": table["correct"],
        "malignant_recall": called.where(malignant).astype(float),
        "specificity": (~called).where(~malignant).astype(float),
        "brier": (table[f"p_{MALIGNANT}"] - malignant) ** 2,
        "mask_dice": table["mask_dice"],
    }
    return pd.DataFrame({"case": table["case"], **figures}).dropna(axis="columns", how="all")


def read_answers(folders: Sequence[Path]) -> pd.DataFrame | None:
    """Returns the answers of a method's runs, one row per image; None where they are no classifier's.

    Raises:
        BreastkitError: if two of them answered for the same image.
    """
    tables = [pd.read_csv(folder / "evaluation" / "metrics.csv", dtype={"case": str}) for folder in folders]
    if not all({"image", "predicted", f"p_{MALIGNANT}"} <= set(table) for table in tables):
        return None
    answers = pd.concat(tables).set_index("image")
    if answers.index.has_duplicates:
        twice = answers.index[answers.index.duplicated()][0]
        raise BreastkitError(
            f"{', '.join(str(folder) for folder in folders)} both answered for {twice}; evaluate every fold on its own "
            "images with --split validation."
        )
    return answers


def figure_table(answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Returns every figure of every method with its 95 % interval over cases, and the number of images."""
    rows = []
    for method, table in answers.items():
        classes = [name.removeprefix("p_") for name in table.columns if name.startswith("p_")]
        labels, decided = (table[column].map(classes.index).to_numpy() for column in ("class", "predicted"))
        probabilities = table[[f"p_{name}" for name in classes]].to_numpy()
        figures = class_figures(probabilities, decided, labels, classes, table["case"])
        figures["mask_dice"] = grouped_interval(table["mask_dice"], table["case"])
        rows += [
            {"method": method, "figure": name, "images": len(table), **interval._asdict()}
            for name, interval in figures.items()
        ]
    return pd.DataFrame(rows)


def auc_tests(answers: Mapping[str, pd.DataFrame], *, seed: int = 0) -> pd.DataFrame:
    """Returns, for every two methods, how the areas of malignant against the rest differ on their common images.

    The interval and the two-sided p value are of a bootstrap over cases that draws the same images for both.
    """
    rows = []
    for first, second in combinations(answers, 2):
        shared = answers[first].index.intersection(answers[second].index)
        one, other = answers[first].loc[shared], answers[second].loc[shared]
        truth = (one["class"] == MALIGNANT).to_numpy()
        if truth.all() or not truth.any():
            continue
        weights = np.vstack([np.ones(len(shared)), group_weights(one["case"], seed=seed)])
        areas = [weighted_auc(weights, table[f"p_{MALIGNANT}"].to_numpy(), truth) for table in (one, other)]
        differences = areas[0] - areas[1]
        drawn = differences[1:][np.isfinite(differences[1:])]
        low, high = np.quantile(drawn, [0.025, 0.975])
        p_value = min(1.0, 2 * min((drawn <= 0).mean(), (drawn >= 0).mean()))
        named = {"first": first, "second": second, "images": len(shared), "difference": differences[0]}
        rows.append({**named, "low": low, "high": high, "p_value": max(p_value, 1 / len(drawn))})
    return pd.DataFrame(rows, columns=["first", "second", "images", "difference", "low", "high", "p_value"])
