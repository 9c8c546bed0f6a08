"""Pages on clinical tables: what they hold, and what of it goes with what was measured in images."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from breastkit.atomic import atomic_path, make_folder, write_figures, write_text
from breastkit.cases import read_cases
from breastkit.clinical.correlate import correlations, joined
from breastkit.clinical.explore import balance, categories, summary
from breastkit.clinical.features import Lesions, read_features
from breastkit.clinical.table import ClinicalTable, Column, Kind, read_clinical
from breastkit.errors import BreastkitError
from breastkit.report.page import SERIES, figure, percent, picture, render_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a file of a figure is called, whatever its table calls the column.
_FIGURES = {
    r"((mol|molecular|tumor)_)?subtype": "mol_subtype",
    r"(nottingham_|tumor_|tumour_)?grade": "nottingham_grade",
}
# So many pairs that stand out are drawn.
_DRAWN = 6
_DIVERGING = "RdBu_r"


def explore_clinical(
    clinical: str,
    *,
    out: str,
    columns: Sequence[str] = (),
    cases: str | None = None,
    ordinal: Sequence[str] = (),
    nominal: Sequence[str] = (),
    numeric: Sequence[str] = (),
) -> Path:
    """Shows what a clinical table holds, on one page.

    Writes index.html, distributions.png and summary.csv (column, kind, n, missing, categories with counts).

    Args:
        clinical: CSV or XLSX with a row a patient, or the workbook of Duke-Breast-Cancer-MRI.
        out: the folder to write.
        columns: which are drawn; receptors, subtype and grade by default. The table always holds all.
        cases: a case list, whose training and test patients are compared.
        ordinal: columns to take as ordered categories.
        nominal: columns to take as categories without order.
        numeric: columns to take as numbers.

    Returns:
        The page.

    Raises:
        BreastkitError: if the table cannot be read or there is no such column.
    """
    table = read_clinical(clinical, ordinal=ordinal, nominal=nominal, numeric=numeric)
    shown = table.chosen(columns) if columns else table.usual
    groups = _groups(table, cases) if cases else None
    folder = make_folder(out)
    everything = summary(list(table.columns.values()))
    write_text(folder / "summary.csv", everything.to_csv(index=False))
    drawing = _distributions(shown)
    with atomic_path(folder / "distributions.png") as temporary:
        drawing.savefig(temporary, format="png", dpi=130)
    spread = balance(shown, groups) if groups is not None else pd.DataFrame()
    return render_page(
        "clinical_table.html",
        folder / "index.html",
        title=table.path.name,
        patients=len(table.patients),
        columns=len(table.columns),
        picture=picture(drawing),
        tables=[_category_table(column) for column in shown if column.kind is not Kind.NUMERIC],
        everything=everything.to_dict("records"),
        lists=sorted(set(groups)) if groups is not None else [],
        balance=spread.to_dict("records"),
    )


def correlate_clinical(
    features: str,
    clinical: str,
    *,
    out: str,
    lesions: Lesions = "best",
    variables: Sequence[str] = (),
    ordinal: Sequence[str] = (),
    nominal: Sequence[str] = (),
    numeric: Sequence[str] = (),
    resamples: int = 999,
    seed: int = 0,
) -> Path:
    """Tells how features of images go with clinical variables. It explores: what stands out is to be tested on others.

    Writes correlations.csv, a heatmap a variable (corr_er.png…) and index.html. Beside Pearson's correlation with the
    variable's code stands the statistic that fits its kind: Spearman's for numbers and grades, rank-biserial with
    Mann and Whitney's test for two groups, epsilon squared with Kruskal and Wallis' for more, each with a bootstrap
    interval; p values are adjusted over the whole run (Benjamini and Hochberg).

    Args:
        features: a table with patient_id and numbers, such as features.csv, lesions of a cohort or of
            'breastkit clinical boxes'.
        clinical: as for 'breastkit clinical explore'.
        out: the folder to write.
        lesions: of a patient with several rows: best takes the highest score, largest the largest, all keeps all.
        variables: clinical columns; receptors, subtype and grade by default.
        ordinal: columns to take as ordered categories.
        nominal: columns to take as categories without order.
        numeric: columns to take as numbers.
        resamples: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.

    Returns:
        The page.

    Raises:
        BreastkitError: if a table cannot be read, or no patient is in both.
    """
    table = read_clinical(clinical, ordinal=ordinal, nominal=nominal, numeric=numeric)
    measured = read_features(features, lesions=lesions, patient=table.patient)
    chosen = table.chosen(variables) if variables else table.usual
    matched = matched_patients(table, measured, Path(features))
    found = correlations(measured, chosen, resamples=resamples, seed=seed)
    folder = make_folder(out)
    write_text(folder / "correlations.csv", found.to_csv(index=False, float_format="%.6g"))
    heatmaps = []
    for variable in chosen:
        rows = found[found["variable"] == variable.name]
        drawing = _heatmap(rows, variable)
        name = f"corr_{_figure_name(variable.name)}.png"
        with atomic_path(folder / name) as temporary:
            drawing.savefig(temporary, format="png", dpi=150)
        heatmaps.append({"name": variable.title, "file": name, "picture": picture(drawing)})
    tests = int(found["p"].notna().sum())
    standing_out = found[found["p_adjusted"] < 0.05].sort_values("p_adjusted", kind="stable")
    return render_page(
        "correlation.html",
        folder / "index.html",
        title=f"{Path(features).name} against {table.path.name}",
        lesions=lesions,
        matched=len(matched),
        only_features=_named(sorted(set(measured.index) - set(table.patients))),
        only_clinical=_named(sorted(set(table.patients) - set(measured.index))),
        tests=tests,
        by_chance=0.05 * tests,
        plain=int((found["p"] < 0.05).sum()),
        standing_out=len(standing_out),
        heatmaps=heatmaps,
        rows=[_shown(row) for row in found.to_dict("records")],
        drawings=[
            {
                "caption": f"{row['feature']} by {row['variable']}",
                "picture": picture(_pair_drawing(row, measured, table)),
            }
            for row in standing_out.drop_duplicates("variable").head(_DRAWN).to_dict("records")
        ],
    )


def matched_patients(table: ClinicalTable, measured: pd.DataFrame, path: Path) -> list[str]:
    """Returns the patients of both.

    Raises:
        BreastkitError: if there is none.
    """
    both = sorted(set(table.patients) & set(measured.index))
    if not both:
        raise BreastkitError(
            f"{path} and {table.path} have no patient in common ({next(iter(measured.index))} and {table.patients[0]}, "
            "for example); patients are matched by the last number in their names."
        )
    return both


def _figure_name(name: str) -> str:
    return next((file for pattern, file in _FIGURES.items() if re.fullmatch(pattern, name)), name)


def _groups(table: ClinicalTable, cases: str) -> pd.Series[str]:
    """Returns which list of a case list every patient of the table is in."""
    found = {table.patient(str(item["case"])): name for name, item in read_cases(cases, check=False).items()}
    groups = pd.Series({patient: found[patient] for patient in table.patients if patient in found}, dtype=object)
    if groups.empty:
        raise BreastkitError(
            f"{cases} and {table.path} have no patient in common; name the case list of these patients."
        )
    return groups


def _named(patients: Sequence[str]) -> dict[str, Any]:
    return {"count": len(patients), "names": ", ".join(sorted(patients, key=lambda name: (len(name), name)))}


def _category_table(column: Column) -> dict[str, Any]:
    rows = [
        {"name": one.name, "count": one.count, "share": one.share, "is_rare": one.is_rare} for one in categories(column)
    ]
    return {
        "title": column.title,
        "kind": column.kind.value,
        "rows": rows,
        "missing": column.missing,
        "n": len(column.values),
    }


def _distributions(columns: Sequence[Column]) -> Figure:
    """Draws the categories of columns with their counts, numbers as histograms; what is missing is marked."""
    from matplotlib.figure import Figure

    across = min(2, len(columns))
    down = math.ceil(len(columns) / across)
    drawing = Figure(figsize=(5.6 * across, 2.7 * down), layout="constrained", facecolor="white")
    grid = drawing.subplots(down, across, squeeze=False).ravel()
    for axes, column in zip(grid, columns, strict=False):
        axes.spines[["top", "right"]].set_visible(False)
        known = int(column.values.notna().sum())
        axes.set_title(f"{column.title} (n = {known})", fontsize=10, loc="left")
        if column.kind is Kind.NUMERIC:
            axes.hist(column.values.dropna(), bins=24, color=SERIES[0])
            axes.set_ylabel("patients", fontsize=9)
            continue
        shown = categories(column)
        names = [_short(one.name) + (" (rare)" if one.is_rare else "") for one in shown]
        counts, colours = [one.count for one in shown], [SERIES[0]] * len(shown)
        texts = [f"{one.count} · {percent(one.share)}" for one in shown]
        if column.missing:
            names.append("missing")
            counts.append(column.missing)
            colours.append("#c9ced6")
            texts.append(f"{column.missing} of {len(column.values)}")
        places = np.arange(len(names))
        axes.barh(places, counts, color=colours, height=0.7)
        axes.set_yticks(places, names, fontsize=9)
        axes.invert_yaxis()
        axes.set_xlim(0, max(counts, default=1) * 1.28)
        axes.tick_params(labelsize=9, length=3)
        for place, count, text in zip(places, counts, texts, strict=True):
            axes.text(count, place, f" {text}", va="center", fontsize=9)
    for axes in grid[len(columns) :]:
        axes.set_visible(False)
    return drawing


def _heatmap(rows: pd.DataFrame, variable: Column) -> Figure:
    """Draws Pearson's correlation of every feature with a variable's code: rows features, one column."""
    from matplotlib.figure import Figure

    values = rows["pearson"].to_numpy(dtype=float)[:, None]
    drawing = Figure(figsize=(3.8, 1.2 + 0.36 * len(rows)), layout="constrained", facecolor="white")
    axes = drawing.subplots()
    drawn = axes.imshow(values, cmap=_DIVERGING, vmin=-1, vmax=1, aspect="auto")
    axes.set_yticks(range(len(rows)), [_short(name) for name in rows["feature"]], fontsize=9)
    axes.set_xticks([0], [variable.title], fontsize=9)
    axes.tick_params(length=0)
    counts = rows["n"].unique()
    count = f"{counts[0]}" if len(counts) == 1 else f"{counts.min()} to {counts.max()}"
    axes.set_title(f"{variable.title} (n = {count})", fontsize=10)
    for number, value in enumerate(values[:, 0]):
        text = f"{value:+.2f}" if math.isfinite(value) else "–"
        ink = "white" if abs(value) > 0.6 else "#1d2733"
        axes.text(0, number, text, ha="center", va="center", fontsize=9, color=ink)
    drawing.colorbar(drawn, ax=axes, shrink=0.9, label="Pearson's r").ax.tick_params(labelsize=8)
    return drawing


def _pair_drawing(row: dict[str, Any], measured: pd.DataFrame, table: ClinicalTable) -> Figure:
    """Draws a pair that stands out: box plots by category, a scatter of two numbers."""
    variable = table.columns[row["variable"]]
    pairs = joined(measured[row["feature"]], variable)
    drawing, axes = figure(5.4, 3.4)
    if variable.kind is Kind.NUMERIC:
        axes.scatter(pairs["y"], pairs["x"], s=9, alpha=0.5, color=SERIES[0], linewidths=0)
        axes.set_xlabel(variable.title, fontsize=9)
    else:
        codes = sorted(pairs["y"].unique())
        groups = [pairs.loc[pairs["y"] == code, "x"] for code in codes]
        named = [_short(variable.names.get(float(code), f"{code:g}"), 16) for code in codes]
        names = [f"{name}\nn = {len(group)}" for name, group in zip(named, groups, strict=True)]
        axes.boxplot(groups, tick_labels=names, showfliers=False, medianprops={"color": SERIES[1]})
        axes.tick_params(labelsize=8)
    axes.set_ylabel(row["feature"], fontsize=9)
    axes.set_title(f"{row['effect_name']} {row['effect']:+.2f}, adjusted p {_p_text(row['p_adjusted'])}", fontsize=9)
    return drawing


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _p_text(value: float) -> str:
    return "–" if not math.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row of the table as the page shows it."""
    texts = {
        name: f"{row[name]:+.3f}" if math.isfinite(row[name]) else "–" for name in ("pearson", "spearman", "effect")
    }
    known = math.isfinite(row["low"])
    return {
        **{name: row[name] for name in ("feature", "variable", "kind", "n", "effect_name", "warning")},
        **texts,
        "interval": f"{row['low']:+.2f} to {row['high']:+.2f}" if known else "–",
        "p": _p_text(row["p"]),
        "p_adjusted": _p_text(row["p_adjusted"]),
        "stands_out": bool(row["p_adjusted"] < 0.05),
    }


def predict_clinical(
    features: str,
    clinical: str,
    *,
    target: str,
    out: str,
    lesions: Lesions = "best",
    ordinal: Sequence[str] = (),
    nominal: Sequence[str] = (),
    permutations: int = 50,
    seed: int = 0,
) -> Path:
    """Tells whether features of images predict a clinical variable: a baseline, with all that keeps it honest.

    Logistic regression and gradient boosting in nested cross-validation over patients; areas under the curve with
    intervals, a permutation test of the whole procedure, a calibration plot and the importance of every feature. Writes
    predictions.csv, importance.csv, summary.json and index.html.

    Args:
        features: as for 'breastkit clinical correlate'.
        clinical: likewise.
        target: the clinical column to predict.
        out: the folder to write.
        lesions: of a patient with several rows: best takes the highest score, largest the largest.
        ordinal: columns to take as ordered categories.
        nominal: columns to take as categories without order.
        permutations: of the test; 50 tell a p value of 0.02 at the least.
        seed: of folds, models and permutations.

    Returns:
        The page.

    Raises:
        BreastkitError: if a table cannot be read, or there are too few patients.
    """
    from breastkit.clinical.predict import INNER, OUTER, predict

    if lesions == "all":
        raise BreastkitError("--lesions all would judge lesions by others of the same patient; take best or largest.")
    table = read_clinical(clinical, ordinal=ordinal, nominal=nominal)
    (column,) = table.chosen([target])
    measured = read_features(features, lesions=lesions, patient=table.patient)
    matched = matched_patients(table, measured, Path(features))
    classes, found = predict(measured.loc[matched], column, permutations=permutations, seed=seed)
    folder = make_folder(out)
    rows = pd.concat([each.probabilities.add_prefix("p_").assign(model=each.model, truth=classes) for each in found])
    write_text(folder / "predictions.csv", rows.round(5).rename_axis("patient_id").reset_index().to_csv(index=False))
    importance = pd.DataFrame({each.model: each.importance for each in found})
    write_text(folder / "importance.csv", importance.round(5).rename_axis("feature").reset_index().to_csv(index=False))
    facts = {"target": column.name, "patients": len(classes), "classes": classes.value_counts().to_dict()}
    facts |= {"outer_folds": OUTER, "inner_folds": INNER, "permutations": permutations, "seed": seed}
    areas = {
        each.model: {"auc": each.auc, "p": each.p, "better_than_chance": each.is_better_than_chance} for each in found
    }
    write_figures(folder / "summary.json", {**facts, "models": areas})
    return render_page(
        "prediction.html",
        folder / "index.html",
        title=f"{column.title} from {Path(features).name}",
        facts=facts,
        models=[
            {
                "name": each.model,
                "auc": f"{each.auc.value:.3f}",
                "interval": f"{each.auc.low:.3f} to {each.auc.high:.3f}",
                "p": _p_text(each.p),
                "better": each.is_better_than_chance,
            }
            for each in found
        ],
        any_better=any(each.is_better_than_chance for each in found),
        calibration=picture(_calibration(found, classes)),
        importance=picture(_importance(importance)),
    )


def _calibration(found: Sequence[Any], classes: pd.Series[str]) -> Figure:
    """Draws how often a class is met where it was given a probability; of several classes the most frequent one."""
    from sklearn.calibration import calibration_curve

    names = list(found[0].probabilities)
    shown = names[1] if len(names) == 2 else classes.value_counts().index[0]
    drawing, axes = figure(5.0, 3.6)
    axes.plot([0, 1], [0, 1], color="#9aa3ae", linewidth=1, linestyle="--")
    for each in found:
        met, said = calibration_curve(classes == shown, each.probabilities[shown], n_bins=8, strategy="quantile")
        axes.plot(said, met, marker="o", markersize=4, label=each.model)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel(f"predicted probability of {shown}", fontsize=9)
    axes.set_ylabel("share met", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return drawing


def _importance(importance: pd.DataFrame) -> Figure:
    shown = importance.head(15).iloc[::-1]
    drawing, axes = figure(6.0, 1.2 + 0.3 * len(shown))
    places = np.arange(len(shown))
    for number, model in enumerate(shown):
        axes.barh(places + 0.2 - 0.4 * number, shown[model], height=0.38, label=model)
    axes.set_yticks(places, [_short(name) for name in shown.index], fontsize=9)
    axes.set_xlabel("fall of the area when shuffled", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return drawing
