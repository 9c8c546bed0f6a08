"""`breastkit evaluate late`: what BI-RADS, age and the like add to what a network says of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from breastkit.atomic import make_folder, write_figures
from breastkit.cases import read_cases
from breastkit.errors import BreastkitError
from breastkit.metrics import Interval
from breastkit.metrics.class_figures import group_weights, grouped_auc, weighted_auc
from breastkit.metrics.classification import MALIGNANT

_PARTS = 5
_IMAGE = "logit of the picture"
# What is known only after the biopsy says what it was.
_OUTCOMES = {"class", "histology"}


def evaluate_late_fusion(
    answers: str, *, cases: str, columns: Sequence[str], out: str, missing: float = 0.5, seed: int = 0
) -> Path:
    """Measures late fusion: a logistic regression on a network's answer and a case list's further facts.

    It is fitted on four fifths of the cases and judged on the fifth, in turn; all pictures of a case are on one side.
    Beside it stand the picture alone, the facts alone, and both where a share of the facts is unknown.

    Args:
        answers: the evaluation folder of a classifier, with its metrics.csv, on pictures it has not learnt from.
        cases: the case list of these pictures.
        columns: facts of its items, such as birads or age; numbers or categories, and some may be missing.
        out: the folder to write summary.json to.
        missing: share of the facts that is taken away at random for the last row.
        seed: of the folds and of what is taken away.

    Returns:
        The summary.

    Raises:
        BreastkitError: if a fact is unknown, or tells the outcome itself.
    """
    table = _joined(answers, cases, columns)
    truth, groups = (table["class"] == MALIGNANT).to_numpy(), table["case"]
    hidden = table.copy()
    hidden[list(columns)] = hidden[list(columns)].mask(
        np.random.default_rng(seed).random((len(table), len(columns))) < missing
    )
    probabilities = {
        "image": _predicted(table, [_IMAGE], truth, seed),
        "table": _predicted(table, list(columns), truth, seed),
        "image and table": _predicted(table, [_IMAGE, *columns], truth, seed),
        "image and table, some missing": _predicted(hidden, [_IMAGE, *columns], truth, seed),
    }
    weights = group_weights(groups, seed=seed)
    alone = weighted_auc(weights, probabilities["image"], truth)
    methods: dict[str, Any] = {}
    for name, scores in probabilities.items():
        area, apart = grouped_auc(scores, truth, groups, seed=seed), weighted_auc(weights, scores, truth) - alone
        gained = Interval(area.value - grouped_auc(probabilities["image"], truth, groups).value, *_tails(apart))
        methods[name] = {"auc": area, "gained": gained}
    path = make_folder(out) / "summary.json"
    facts = {"columns": list(columns), "images": len(table), "cases": int(groups.nunique()), "share_missing": missing}
    counted = {name: int(table[name].notna().sum()) for name in columns}
    write_figures(path, {**facts, "known": counted, "methods": methods})
    return path


def _joined(answers: str, cases: str, columns: Sequence[str]) -> pd.DataFrame:
    """Returns class, case, what the picture says and the facts of every picture."""
    path = Path(answers) / "metrics.csv"
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; give the folder that evaluate.json of a classifier wrote.")
    known = read_cases(cases, check=False)
    facts = {Path(item["image"]).name: item for _, item in known.items()}
    for column in columns:
        if column in _OUTCOMES:
            raise BreastkitError(f"'{column}' of {known.path} is the outcome itself; name what is known before it.")
        if not any(column in item for item in facts.values()):
            raise BreastkitError(f"No item of {known.path} has '{column}'; name facts that stand there.")
    table = pd.read_csv(path, dtype={"case": str})
    table = table[table["class"].isin(["benign", MALIGNANT]) & table["image"].isin(facts.keys())].reset_index(drop=True)
    if not len(table):
        raise BreastkitError(f"{path} and {known.path} have no lesion picture in common; give those of one set.")
    probability = table[f"p_{MALIGNANT}"].clip(1e-4, 1 - 1e-4)
    table[_IMAGE] = np.log(probability / (1 - probability))
    for column in columns:
        values = pd.Series([facts[name].get(column) for name in table["image"]], dtype=object)
        numbers = pd.to_numeric(values, errors="coerce")
        table[column] = numbers if numbers.notna().sum() == values.notna().sum() else values
    return table


def _predicted(table: pd.DataFrame, columns: list[str], truth: NDArray[Any], seed: int) -> NDArray[Any]:
    """Returns the probability of malignant of every picture, by what was fitted on other cases."""
    numbers = [name for name in columns if pd.api.types.is_numeric_dtype(table[name])]
    words = [name for name in columns if name not in numbers]
    prepared = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore"), words),
        ]
    )
    model = Pipeline([("prepared", prepared), ("logistic", LogisticRegression(max_iter=1000))])
    folds = StratifiedGroupKFold(_PARTS, shuffle=True, random_state=seed)
    predicted: NDArray[Any] = cross_val_predict(
        model, table[columns], truth, groups=table["case"], cv=folds, method="predict_proba"
    )
    return predicted[:, 1]


def _tails(values: NDArray[Any]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
