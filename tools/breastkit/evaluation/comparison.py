"""Finished runs side by side: means with intervals and paired tests, as tables and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from breastkit.atomic import atomic_path, make_folder, write_json, write_text
from breastkit.errors import BreastkitError, UsageError
from breastkit.evaluation.classification_comparison import (
    SHOWN,
    auc_tests,
    figure_table,
    per_image_figures,
    read_answers,
)
from breastkit.evaluation.comparison_page import write_comparison_page
from breastkit.evaluation.comparison_pictures import draw_comparison
from breastkit.metrics import Interval, bootstrap_interval, paired_test
from breastkit.model_registry import registry_in_use

_METRICS_FILE = Path("evaluation") / "metrics.csv"
# Columns of a metrics table that tell of the case and are no figures of merit.
_NOT_METRICS = ("case", "fold", "class", "split")
_SMALLER_IS_BETTER = ("hd95", "false", "error", "loss", "distance", "ece", "brier")
_TESTS = """\
Paired differences on common cases (first minus second, 95 % bootstrap interval), permutation test, p adjusted for the
number of pairs (Holm)."""
_CLASSIFIERS = """\
## Classifiers

Over all images of a method, each judged by a network that has not seen it where the runs are folds; 95 % intervals over
cases. Classes are those each method tells apart; AUC is the mean of one class against the rest where there are three.
"""
_AREAS = """\
Differences of the area under the ROC curve of malignant against the rest on common images (first minus second, 95 %
interval and p value by bootstrap over cases):
"""
_PICTURES = """\
Image, truth and what every run made of it, from the worst to the best:

![Image, truth and every run](pictures.png)
"""
_OTHER_CASES = """\
**The runs were evaluated on different case lists**: their means are not of the same cases, only the paired differences
are."""


@dataclass(frozen=True)
class Method:
    """One line of the comparison: a run, or the folds of one cross-validated.

    Attributes:
        name: what it is called.
        folders: the runs' output folders.
        table: one row per case and one column per metric, indexed by case; cases of several folds are averaged.
        case_lists: hashes of the case lists they were evaluated on.
        settings: what the first of the runs was told.
        links: where each run is looked at, empty where it is a folder alone.
    """

    name: str
    folders: tuple[Path, ...]
    table: pd.DataFrame
    case_lists: frozenset[str]
    settings: Mapping[str, Any]
    links: tuple[str, ...]


def compare_runs(
    runs: Sequence[str] = (),
    *,
    out: str,
    metrics: Sequence[str] = (),
    experiment: str | None = None,
    filter: str = "",
) -> Path:
    """Compares finished runs by the figures of their evaluations.

    Runs of one architecture on several folds count as one method. Paired tests compare the cases two methods have in
    common.

    Args:
        runs: output folders of evaluated runs, or folders that hold some.
        out: the folder to write comparison.csv, tests.csv, comparison.json with both, comparison.md, comparison.png and
            the page index.html to, pictures.png where the runs outline pictures, and classification.csv and
            auc_tests.csv where they tell classes.
        metrics: the metrics to compare; all that the runs have in common by default.
        experiment: takes the evaluations tracked in MLflow under this name too, such as the bundle's.
        filter: which of those, as MLflow filters runs: "params.image_size = '128' and metrics.dice > 0.7".

    Returns:
        The Markdown file.

    Raises:
        BreastkitError: if a folder holds no evaluated run, or two methods share no case or metric.
    """
    places: list[str | Path] = [runs] if isinstance(runs, str) else [*runs]
    if experiment is not None:
        places += _tracked(experiment, filter, Path(out) / "runs")
    if not places:
        raise UsageError("breastkit compare needs RUNS, folders of evaluated runs, or --experiment NAME.")
    methods = read_methods(places)
    metrics = _shared_metrics(methods, [metrics] if isinstance(metrics, str) else metrics)
    means, tests = mean_table(methods, metrics), paired_table(methods, metrics)
    figures, areas = _classifiers(methods)
    folder = make_folder(out)
    write_text(folder / "comparison.csv", means.round(5).to_csv(index=False))
    write_text(folder / "tests.csv", tests.round(5).to_csv(index=False))
    _plot(means, metrics, folder / "comparison.png")
    pictures = draw_comparison({method.name: method.folders for method in methods}, folder / "pictures.png")
    write_json(folder / "comparison.json", _summary(methods, means, tests, figures, areas))
    write_comparison_page(methods, means, tests, metrics, folder / "index.html")
    text = _markdown(methods, means, tests, metrics)
    if not figures.empty:
        write_text(folder / "classification.csv", figures.round(5).to_csv(index=False))
        write_text(folder / "auc_tests.csv", areas.round(5).to_csv(index=False))
        text += _classifier_markdown(figures, areas)
    return write_text(folder / "comparison.md", f"{text}\n{_PICTURES}" if pictures else text)


def read_methods(places: Sequence[str | Path]) -> list[Method]:
    """Reads evaluated runs and puts the folds of an architecture together.

    Raises:
        BreastkitError: if there is no evaluated run in a place, or its table cannot be read.
    """
    folders = [folder for place in places for folder in _run_folders(Path(place))]
    groups: dict[tuple[Any, ...], list[tuple[Path, dict[str, Any]]]] = {}
    for folder in dict.fromkeys(folders):
        facts = _facts(folder)
        fold = facts.get("fold")
        same = tuple(facts.get(name) for name in ("bundle", "architecture", "regions", "image_size", "case_list_hash"))
        # A run without fold, or one that does not say what it is, stands for itself.
        key = ("folds", *same) if fold is not None and facts.get("architecture") else ("run", folder)
        groups.setdefault(key, []).append((folder, facts))
    return _named([_method(members) for members in groups.values()])


def mean_table(methods: Sequence[Method], metrics: Sequence[str]) -> pd.DataFrame:
    """Returns the mean of every metric with its 95 % bootstrap interval over cases."""
    rows = []
    for method in methods:
        for metric in metrics:
            interval = bootstrap_interval(method.table[metric])
            cases = int(method.table[metric].notna().sum())
            rows.append({"method": method.name, "metric": metric, "cases": cases, **_columns(interval, "mean")})
    return pd.DataFrame(rows)


def paired_table(methods: Sequence[Method], metrics: Sequence[str]) -> pd.DataFrame:
    """Returns paired tests of every two methods; ``p_holm`` allows for the number of pairs tested on a metric.

    Raises:
        BreastkitError: if two methods share no case.
    """
    rows = []
    for metric in metrics:
        tests: list[dict[str, Any]] = []
        for first, second in combinations(methods, 2):
            shared = first.table.index.intersection(second.table.index)
            if shared.empty:
                raise BreastkitError(
                    f"{first.name} and {second.name} were evaluated on no common case; evaluate them on one case list."
                )
            result = paired_test(first.table.loc[shared, metric], second.table.loc[shared, metric])
            tests.append({"metric": metric, "first": first.name, "second": second.name, "cases": result.cases,
                          **_columns(result.difference, "difference"), "p_value": result.p_value})  # fmt: skip
        for row, adjusted in zip(tests, holm([row["p_value"] for row in tests]), strict=True):
            rows.append({**row, "p_holm": adjusted})
    names = ["metric", "first", "second", "cases", "difference", "low", "high", "p_value", "p_holm"]
    return pd.DataFrame(rows, columns=names)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p values adjusted by Holm's method; missing ones stay missing and do not count."""
    values = np.asarray(p_values, dtype=float)
    order = [index for index in np.argsort(values) if np.isfinite(values[index])]
    adjusted, largest = np.full(len(values), np.nan), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def smaller_is_better(metric: str) -> bool:
    """Tells by its name whether a metric is a distance or an error."""
    return any(word in metric for word in _SMALLER_IS_BETTER)


def _run_folders(place: Path) -> list[Path]:
    if not place.is_dir():
        raise BreastkitError(f"{place} is not a folder; name the output folder of a run.")
    found = [path.parent.parent for path in sorted(place.rglob(str(_METRICS_FILE)))]
    if not found:
        raise BreastkitError(f"{place} holds no {_METRICS_FILE}; evaluate the run first.")
    return found


def _tracked(experiment: str, filter_string: str, folder: Path) -> list[Path]:
    registry = registry_in_use()
    if registry is None:
        raise BreastkitError(f"There is no MLflow to ask for {experiment}; set MLFLOW_TRACKING_URI.")
    return registry.evaluations(experiment, filter_string, folder)


def _facts(folder: Path) -> dict[str, Any]:
    """Returns what run and evaluation say of themselves, filled up by what the weights say."""
    facts: dict[str, Any] = {}
    for path in (folder / "model.json", folder / "run.json", folder / "evaluation" / "summary.json"):
        if path.is_file():
            try:
                facts.update(json.loads(path.read_text(encoding="utf-8")))
            except json.JSONDecodeError as error:
                raise BreastkitError(f"{path} is no JSON ({error}); evaluate the run again.") from error
    return facts


def _method(members: Sequence[tuple[Path, Mapping[str, Any]]]) -> Method:
    tables = [case_table(folder) for folder, _ in members]
    folders, facts = zip(*members, strict=True)
    table = pd.concat(tables).groupby(level=0).mean()
    name = facts[0].get("architecture") or folders[0].name
    if facts[0].get("regions"):
        name = f"{name}, {facts[0]['regions']}"
    if facts[0].get("fold") is not None:
        name = f"{name}, {len(members)} folds" if len(members) > 1 else f"{name}, fold {facts[0]['fold']}"
    hashes = frozenset(str(one["case_list_hash"]) for one in facts if one.get("case_list_hash"))
    settings, links = facts[0].get("settings", {}), tuple(str(one.get("link", "")) for one in facts)
    return Method(name, folders, table, hashes, settings, links)


def case_table(folder: Path) -> pd.DataFrame:
    """Returns the figures of an evaluated run: one row per case, one column per metric.

    Raises:
        BreastkitError: if its table cannot be read.
    """
    path = folder / _METRICS_FILE
    try:
        table = pd.read_csv(path, dtype={"case": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise BreastkitError(f"{path} is no table; evaluate the run again.") from error
    if "case" not in table or table.empty:
        raise BreastkitError(f"{path} has no cases; evaluate the run again.")
    if {"predicted", "p_malignant"} <= set(table):
        table = per_image_figures(table)
    # Errors have a sign, which tells of bias; which method errs less is told by their size.
    for name in [name for name in table.columns if "error" in name]:
        table[f"absolute_{name}"] = table.pop(name).abs()
    if "lesion" in table and "dice" in table:
        # Pictures: what normal ones add to a mean, 0 or 1, must not hide how well lesions are outlined.
        table.insert(table.columns.get_loc("dice"), "dice_lesions", table["dice"].where(table["lesion"].astype(bool)))
    figures = [name for name in table.select_dtypes("number").columns if name not in _NOT_METRICS]
    # A case may have several images; methods are compared on cases, which are independent of each other.
    return table.groupby("case")[figures].mean()


def _named(methods: Sequence[Method]) -> list[Method]:
    names = [method.name for method in methods]
    return [
        replace(one, name=f"{one.name} ({one.folders[0].name})") if names.count(one.name) > 1 else one
        for one in methods
    ]


def _shared_metrics(methods: Sequence[Method], wanted: Sequence[str]) -> list[str]:
    shared = [name for name in methods[0].table.columns if all(name in method.table for method in methods)]
    if not shared:
        raise BreastkitError("The runs have no metric in common; compare runs of one kind of task.")
    for name in wanted:
        if name not in shared:
            raise BreastkitError(f"{name} is no metric that all runs have; choose among {', '.join(shared)}.")
    return list(wanted) or shared


def _columns(interval: Interval, name: str) -> dict[str, float]:
    return {name: interval.value, "low": interval.low, "high": interval.high}


def _plot(means: pd.DataFrame, metrics: Sequence[str], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(means["method"]))
    figure = Figure(figsize=(3.4 * len(metrics), 0.9 + 0.45 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        rows = means[means["metric"] == metric].set_index("method").loc[names]
        spread = np.nan_to_num([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        positions = np.arange(len(names))[::-1]
        axes.errorbar(rows["mean"], positions, xerr=spread, fmt="o", capsize=3, color="#1f6f8b", markersize=5)
        axes.set_yticks(positions, names if axes.get_subplotspec().is_first_col() else [""] * len(names))
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_title(f"{metric} ({'smaller' if smaller_is_better(metric) else 'larger'} is better)", fontsize=9)
        axes.grid(axis="x", alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _markdown(methods: Sequence[Method], means: pd.DataFrame, tests: pd.DataFrame, metrics: Sequence[str]) -> str:
    lines = ["# Comparison of runs", "", "Mean over cases (95 % bootstrap interval).", ""]
    lines += _row("method", "cases", *metrics), _row(*["---"] * (2 + len(metrics)))
    for method in methods:
        rows = means[means["method"] == method.name].set_index("metric")
        cells = [_cell(*rows.loc[metric, ["mean", "low", "high"]]) for metric in metrics]
        lines.append(_row(method.name, len(method.table), *cells))
    if not tests.empty:
        lines += ["", _TESTS, "", _row("metric", "first", "second", "cases", "difference", "p", "p adjusted")]
        lines.append(_row(*["---"] * 7))
        for row in tests.itertuples():
            difference = _cell(row.difference, row.low, row.high)
            ps = _p(row.p_value), _p(row.p_holm)
            lines.append(_row(row.metric, row.first, row.second, row.cases, difference, *ps))
    lines += ["", *(f"- {method.name}: {', '.join(path.name for path in method.folders)}" for method in methods)]
    if len(frozenset().union(*(method.case_lists for method in methods))) > 1:
        lines += ["", _OTHER_CASES]
    return "\n".join([*lines, "", "![Means with intervals](comparison.png)", ""])


def _classifiers(methods: Sequence[Method]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the figures of classifiers and how their areas differ, empty tables where the runs are none."""
    tables = {method.name: read_answers(method.folders) for method in methods}
    answers = {name: table for name, table in tables.items() if table is not None}
    if len(answers) < len(tables):
        return pd.DataFrame(), pd.DataFrame()
    areas = auc_tests(answers)
    areas["p_holm"] = holm(areas["p_value"])
    return figure_table(answers), areas


def _classifier_markdown(figures: pd.DataFrame, areas: pd.DataFrame) -> str:
    found = {(row.method, row.figure): row for row in figures.itertuples() if np.isfinite(row.value)}
    images = dict(zip(figures["method"], figures["images"], strict=True))
    shown = [name for name in SHOWN if any((method, name) in found for method in images)]
    lines = ["", _CLASSIFIERS, _row("method", "images", *(SHOWN[name] for name in shown))]
    lines.append(_row(*["---"] * (2 + len(shown))))
    for method, count in images.items():
        rows = [found.get((method, name)) for name in shown]
        cells = ["–" if row is None else _cell(row.value, row.low, row.high) for row in rows]
        lines.append(_row(method, count, *cells))
    if len(areas):
        lines += ["", _AREAS, _row("first", "second", "images", "difference", "p", "p adjusted"), _row(*["---"] * 6)]
    for row in areas.itertuples():
        difference = _cell(row.difference, row.low, row.high)
        lines.append(_row(row.first, row.second, row.images, difference, _p(row.p_value), _p(row.p_holm)))
    return "\n".join([*lines, ""])


def _summary(
    methods: Sequence[Method], means: pd.DataFrame, tests: pd.DataFrame, figures: pd.DataFrame, areas: pd.DataFrame
) -> dict[str, Any]:
    """Returns what was found as JSON holds it: figures and differences as lists of value, low and high."""
    summary: dict[str, Any] = {"methods": {}, "paired_tests": {}}
    for method in methods:
        rows = means[means["method"] == method.name]
        summary["methods"][method.name] = {
            "runs": [path.name for path in method.folders],
            "case_lists": sorted(method.case_lists),
            "cases": len(method.table),
            "means_with_95_interval": {row.metric: _numbers(row.mean, row.low, row.high) for row in rows.itertuples()},
        }
    for metric, rows in tests.groupby("metric", sort=False):
        summary["paired_tests"][metric] = _tests(rows, "cases")
    if not figures.empty:
        for method, rows in figures.groupby("method", sort=False):
            summary["methods"][method] |= {
                "images": int(rows["images"].iloc[0]),
                "figures": {row.figure: _numbers(row.value, row.low, row.high) for row in rows.itertuples()},
            }
        summary["auc_tests"] = _tests(areas, "images")
    return summary


def _tests(rows: pd.DataFrame, unit: str) -> dict[str, Any]:
    return {
        f"{row.first} against {row.second}": {
            unit: int(getattr(row, unit)),
            "difference": _numbers(row.difference, row.low, row.high),
            "p_value": _numbers(row.p_value)[0],
            "p_holm": _numbers(row.p_holm)[0],
        }
        for row in rows.itertuples()
    }


def _numbers(*values: float) -> list[float | None]:
    return [round(float(value), 5) if np.isfinite(value) else None for value in values]


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _cell(value: float, low: float, high: float) -> str:
    digits = 3 if abs(value) < 10 else 1
    if not np.isfinite([low, high]).all():
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
