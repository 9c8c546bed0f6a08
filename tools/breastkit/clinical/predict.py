"""Can features of images predict a clinical variable? Two plain models, judged on patients they have not seen.

Nothing is chosen on the patients that a figure is computed on: settings are chosen by cross-validation inside the
training part of every outer fold. A permutation test runs the whole procedure on shuffled patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict, permutation_test_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from breastkit.clinical.table import Column, Kind
from breastkit.errors import BreastkitError
from breastkit.metrics import Interval
from breastkit.progress import available_cores, track

OUTER, INNER = 5, 3
_RESAMPLES = 1000
_SCORING = "roc_auc_ovr"


@dataclass(frozen=True)
class Prediction:
    """What a model made of patients it had not seen.

    Attributes:
        model: its name.
        probabilities: by patient and class.
        auc: area under the curve, for several classes the mean of one against the rest.
        p: of the permutation test.
        importance: of every feature: by how much the area falls when it is shuffled, mean over the folds.
    """

    model: str
    probabilities: pd.DataFrame
    auc: Interval
    p: float
    importance: pd.Series[float]

    @property
    def is_better_than_chance(self) -> bool:
        """Whether both the test and the interval say so."""
        return self.p < 0.05 and self.auc.low > 0.5


def predict(
    features: pd.DataFrame, target: Column, *, permutations: int = 50, seed: int = 0
) -> tuple[pd.Series[str], list[Prediction]]:
    """Returns the classes of the patients that are known, and what each model made of them.

    Args:
        features: numbers by patient, a row each.
        target: a column with categories.
        permutations: of the test.
        seed: of the folds, the models and the permutations.

    Raises:
        BreastkitError: if the column has no categories, or too few patients.
    """
    if target.kind is Kind.NUMERIC:
        raise BreastkitError(f"{target.name} holds numbers; name a column with categories, or take it as --ordinal.")
    classes = target.labels.reindex(features.index).dropna()
    counts = classes.value_counts()
    # A class that is not in every fold cannot be learned and judged.
    classes = classes[classes.isin(counts[counts >= 2 * OUTER].index)]
    if classes.nunique() < 2:
        raise BreastkitError(
            f"{target.name} has fewer than two categories with {2 * OUTER} patients whose features are known; give "
            "more patients or another target."
        )
    table = features.loc[classes.index]
    table = table.loc[:, table.nunique() > 1]
    if table.empty or not table.shape[1]:
        raise BreastkitError("No feature varies over these patients; give other features.")
    found = []
    # Trees grow in microseconds: threads within would only wait for each other.
    with threadpool_limits(1):
        for name, (model, settings) in track(list(_models(seed).items()), "Predicting", unit="model"):
            found.append(_judged(name, model, settings, table, classes, permutations=permutations, seed=seed))
    return classes, found


def _models(seed: int) -> dict[str, tuple[Any, dict[str, list[Any]]]]:
    logistic = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=500))
    boosted = HistGradientBoostingClassifier(max_iter=25, max_leaf_nodes=5, early_stopping=False, random_state=seed)
    return {
        "logistic regression": (logistic, {"logisticregression__C": [0.01, 0.1, 1.0]}),
        "gradient boosting": (boosted, {"learning_rate": [0.05, 0.15]}),
    }


def _judged(
    name: str,
    model: Any,
    settings: Mapping[str, list[Any]],
    table: pd.DataFrame,
    classes: pd.Series[str],
    *,
    permutations: int,
    seed: int,
) -> Prediction:
    inner, outer = (StratifiedKFold(folds, shuffle=True, random_state=seed) for folds in (INNER, OUTER))
    search = GridSearchCV(model, dict(settings), scoring=_SCORING, cv=inner)
    x, y = table.to_numpy(), classes.to_numpy()
    names = sorted(set(classes))
    probabilities = cross_val_predict(search, x, y, cv=outer, method="predict_proba")
    _, _, p_value = permutation_test_score(
        search,
        x,
        y,
        scoring=_SCORING,
        cv=outer,
        n_permutations=permutations,
        random_state=seed,
        n_jobs=available_cores(),
    )
    falls = []
    for train, test in outer.split(x, y):
        fitted = search.fit(x[train], y[train])
        shuffled = permutation_importance(fitted, x[test], y[test], scoring=_SCORING, n_repeats=5, random_state=seed)
        falls.append(shuffled.importances_mean)
    importance = pd.Series(np.mean(falls, axis=0), index=table.columns).sort_values(ascending=False)
    frame = pd.DataFrame(probabilities, index=table.index, columns=names)
    return Prediction(name, frame, _area(frame.to_numpy(), y, names, seed), float(p_value), importance)


def area(probabilities: NDArray[Any], classes: NDArray[Any], names: list[str]) -> float:
    """Returns the area under the curve; for several classes the mean of one against the rest."""
    if len(names) == 2:
        return float(roc_auc_score(classes == names[1], probabilities[:, 1]))
    return float(roc_auc_score(classes, probabilities, multi_class="ovr", labels=names))


def _area(probabilities: NDArray[Any], classes: NDArray[Any], names: list[str], seed: int) -> Interval:
    """Returns the area with its bootstrap interval over patients."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = random.integers(0, len(classes), len(classes))
        if len(set(classes[chosen])) == len(names):
            drawn.append(area(probabilities[chosen], classes[chosen], names))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(area(probabilities, classes, names), float(low), float(high))
