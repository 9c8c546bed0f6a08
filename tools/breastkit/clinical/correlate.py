"""How features of images go with clinical variables: for each kind of variable the statistic that fits it.

Pearson's correlation with the variable's code is what exploratory figures show, and is told beside. All tests of a run
are adjusted together (Benjamini and Hochberg).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from breastkit.clinical.table import Column, Kind
from breastkit.progress import track

COLUMNS = (
    *("feature", "variable", "kind", "n", "pearson", "spearman", "effect", "effect_name", "low", "high"),
    *("p", "p_adjusted", "warning"),
)
# Groups of fewer patients say little.
FEW = 10
# A smaller sample has no statistic.
_LEAST = 4
_RESAMPLES = 999


def correlations(
    features: pd.DataFrame, variables: Sequence[Column], *, resamples: int = _RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Returns every pair of a feature and a variable, one row each; see `COLUMNS`.

    Args:
        features: numbers by patient.
        variables: clinical columns.
        resamples: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.
    """
    pairs = [(feature, variable) for variable in variables for feature in features]
    rows = [
        _pair(features[feature], variable, resamples=resamples, seed=seed)
        for feature, variable in track(pairs, "Correlating", unit="pair")
    ]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "p_adjusted"])
    table.insert(COLUMNS.index("p_adjusted"), "p_adjusted", adjusted(table["p"].to_numpy(dtype=float)))
    return table


def adjusted(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns p values adjusted by Benjamini and Hochberg; NaN where there was no test."""
    result = np.full(p_values.shape, np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        result[tested] = stats.false_discovery_control(p_values[tested])
    return result


def joined(feature: pd.Series[float], variable: Column) -> pd.DataFrame:
    """Returns feature ``x`` and code ``y`` of the patients of whom both are known; one row a row of the features."""
    codes = variable.values.reindex(feature.index).to_numpy(dtype=float)
    table = pd.DataFrame({"x": feature.to_numpy(dtype=float), "y": codes}, index=feature.index)
    return table.dropna()


def _pair(feature: pd.Series[float], variable: Column, *, resamples: int, seed: int) -> dict[str, Any]:
    table = joined(feature, variable)
    row: dict[str, Any] = {"feature": feature.name, "variable": variable.name, "kind": variable.kind.value}
    row |= {"n": len(table), **dict.fromkeys(("pearson", "spearman", "effect", "low", "high", "p"), np.nan)}
    row |= {"effect_name": "", "warning": ""}
    x, y = (table[name].to_numpy() for name in ("x", "y"))
    if len(table) < _LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return row | {"warning": "too few patients" if len(table) < _LEAST else "no variation"}
    row["pearson"], row["spearman"] = float(stats.pearsonr(x, y).statistic), float(_spearman(x, y))
    if variable.kind is not Kind.NOMINAL:
        found = _monotone(x, y, resamples=resamples, seed=seed)
    else:
        groups = [x[y == code] for code in np.unique(y)]
        found = (_two_groups if len(groups) == 2 else _more_groups)(groups, resamples=resamples, seed=seed)
    small = [code for code in np.unique(y) if np.count_nonzero(y == code) < FEW] if variable.names else []
    if small:
        names = ", ".join(variable.names.get(float(code), f"{code:g}") for code in small)
        row["warning"] = f"fewer than {FEW} patients: {names}"
    return row | found


def _spearman(x: NDArray[Any], y: NDArray[Any], axis: int = -1) -> NDArray[np.float64]:
    ranks = (stats.rankdata(each, axis=axis) for each in (x, y))
    result: NDArray[np.float64] = stats.pearsonr(*ranks, axis=axis).statistic
    return result


def _rank_biserial(one: NDArray[Any], two: NDArray[Any], axis: int = -1) -> NDArray[np.float64]:
    """Positive where the second group's values are larger."""
    larger = stats.mannwhitneyu(two, one, axis=axis, method="asymptotic").statistic
    result: NDArray[np.float64] = 2 * larger / (one.shape[axis] * two.shape[axis]) - 1
    return result


def _epsilon_squared(*groups: NDArray[Any], axis: int = -1) -> NDArray[np.float64]:
    count = sum(group.shape[axis] for group in groups)
    result: NDArray[np.float64] = stats.kruskal(*groups, axis=axis).statistic / (count - 1)
    return result


def _monotone(x: NDArray[Any], y: NDArray[Any], *, resamples: int, seed: int) -> dict[str, Any]:
    found = {
        "effect": float(_spearman(x, y)),
        "effect_name": "Spearman's rho",
        "p": float(stats.spearmanr(x, y).pvalue),
    }
    return found | _interval((x, y), _spearman, paired=True, resamples=resamples, seed=seed)


def _two_groups(groups: Sequence[NDArray[Any]], *, resamples: int, seed: int) -> dict[str, Any]:
    one, two = groups
    test = stats.mannwhitneyu(one, two, alternative="two-sided")
    found = {"effect": float(_rank_biserial(one, two)), "effect_name": "rank-biserial", "p": float(test.pvalue)}
    return found | _interval((one, two), _rank_biserial, paired=False, resamples=resamples, seed=seed)


def _more_groups(groups: Sequence[NDArray[Any]], *, resamples: int, seed: int) -> dict[str, Any]:
    test = stats.kruskal(*groups)
    found = {"effect": float(_epsilon_squared(*groups)), "effect_name": "epsilon squared", "p": float(test.pvalue)}
    return found | _interval(tuple(groups), _epsilon_squared, paired=False, resamples=resamples, seed=seed)


def _interval(
    samples: tuple[NDArray[Any], ...],
    statistic: Callable[..., NDArray[np.float64]],
    *,
    paired: bool,
    resamples: int,
    seed: int,
) -> dict[str, float]:
    if not resamples or min(map(len, samples)) < 2:
        return {}
    with np.errstate(all="ignore"):
        result = stats.bootstrap(
            samples, statistic, paired=paired, vectorized=True, n_resamples=resamples, batch=100, method="percentile",
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        drawn = result.bootstrap_distribution
        drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return {}
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"low": float(low), "high": float(high)}
