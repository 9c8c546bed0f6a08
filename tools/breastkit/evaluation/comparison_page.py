"""The page of a comparison: means, which settings go with which figures, paired differences, a way to every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from breastkit.report.page import SERIES, figure, picture, render_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from breastkit.evaluation.comparison import Method

# More lines than there are colours for are told apart by the first figure: the better, the darker.
_MOST_NAMED = len(SERIES)


def write_comparison_page(
    methods: Sequence[Method], means: pd.DataFrame, tests: pd.DataFrame, metrics: Sequence[str], out: Path
) -> Path:
    """Writes the page and returns its path.

    Args:
        methods: what is compared.
        means: of every metric and method, with intervals.
        tests: paired, of every two methods.
        metrics: in the order to show.
        out: the file.
    """
    return render_page(
        "comparison.html",
        out,
        metrics=metrics,
        rows=[_row(method, means) for method in methods],
        coordinates=picture(parallel_coordinates(methods, means, metrics)),
        differences=[(metric, picture(_differences(rows))) for metric, rows in tests.groupby("metric", sort=False)],
        other_cases=len(frozenset().union(*(method.case_lists for method in methods))) > 1,
    )


def parallel_coordinates(methods: Sequence[Method], means: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Draws an axis for every setting in which the methods differ and for every metric, and a line for every method."""
    table = means.pivot(index="method", columns="metric", values="mean").loc[[one.name for one in methods], [*metrics]]
    settings = _differing([method.settings for method in methods])
    axes_of = {**settings, **{metric: list(table[metric]) for metric in metrics}}
    drawing, axes = figure(max(8.5, 1.2 + 1.45 * len(axes_of)), 3.6)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    places = np.stack([_heights(values) for values in axes_of.values()], axis=1)
    ranks = pd.Series(places[:, -len(metrics)]).rank(pct=True).to_numpy()
    few = len(methods) <= _MOST_NAMED
    for number, (method, heights) in enumerate(zip(methods, places, strict=True)):
        colour = SERIES[number] if few else (*(0.85 - 0.7 * ranks[number] * np.array([1, 0.8, 0.4])), 0.8)
        axes.plot(range(len(heights)), heights, color=colour, marker="o", markersize=4, label=method.name)
    for number, (name, values) in enumerate(axes_of.items()):
        axes.vlines(number, 0, 1, color="#c3cad3", linewidth=1, zorder=0)
        for height, text in _ticks(values):
            axes.annotate(text, (number, height), (5, 3), textcoords="offset points", fontsize=7)
        axes.annotate(name, (number, 1.12), ha="center", fontsize=8, weight="bold" if name in metrics else "normal")
    axes.set(xlim=(-0.2, len(axes_of) - 0.4), ylim=(-0.08, 1.2), xticks=[], yticks=[])
    if few:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize=8, frameon=False)
    return drawing


def _differences(rows: pd.DataFrame) -> Figure:
    """Draws the paired differences of one metric with their intervals, a line at none."""
    drawing, axes = figure(7.5, 0.9 + 0.36 * len(rows))
    positions = np.arange(len(rows))[::-1]
    spread = np.nan_to_num([rows["difference"] - rows["low"], rows["high"] - rows["difference"]])
    axes.errorbar(rows["difference"], positions, xerr=spread, fmt="o", capsize=3, color=SERIES[0], markersize=5)
    axes.axvline(0, color="#7d8491", linewidth=1)
    axes.set_yticks(
        positions, [f"{first} less {second}" for first, second in zip(rows["first"], rows["second"], strict=True)]
    )
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="x", color="#e3e6ea")
    return drawing


def _row(method: Method, means: pd.DataFrame) -> dict[str, Any]:
    rows = means[means["method"] == method.name]
    figures = {row.metric: _interval(row.mean, row.low, row.high) for row in rows.itertuples()}
    runs = [(path.name, link) for path, link in zip(method.folders, method.links, strict=True)]
    return {"name": method.name, "cases": len(method.table), "figures": figures, "runs": runs}


def _interval(value: float, low: float, high: float) -> str:
    digits = 3 if abs(value) < 10 else 1
    bounds = f" ({low:.{digits}f} to {high:.{digits}f})" if np.isfinite([low, high]).all() else ""
    return f"{value:.{digits}f}{bounds}"


def _differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns the settings in which methods differ, a value for each; hashes and the like say nothing on an axis."""
    names = dict.fromkeys(name for one in settings for name in one if not name.endswith(("hash", "path")))
    columns = {name: [_number_of(one.get(name)) for one in settings] for name in names}
    return {name: values for name, values in columns.items() if len({str(value) for value in values}) > 1}


def _number_of(value: Any) -> Any:
    # MLflow keeps parameters as text.
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _heights(values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns where values stand on an axis from 0 to 1: numbers to scale, names one above the other."""
    if all(isinstance(value, float | int) for value in values):
        known = np.asarray(values, dtype=float)
        if np.isnan(known).all():
            return known
        span = np.nanmax(known) - np.nanmin(known)
        return np.asarray((known - np.nanmin(known)) / span if span else np.full(len(known), 0.5))
    names = sorted({str(value) for value in values})
    return np.array([names.index(str(value)) / max(1, len(names) - 1) for value in values])


def _ticks(values: Sequence[Any]) -> list[tuple[float, str]]:
    heights = _heights(values)
    if all(isinstance(value, float | int) for value in values):
        if np.isnan(heights).all():
            return []
        ends = (int(np.nanargmin(heights)), int(np.nanargmax(heights)))
        return [(float(heights[index]), f"{values[index]:.3g}") for index in dict.fromkeys(ends)]
    return sorted({(float(height), str(value)) for height, value in zip(heights, values, strict=True)})
