"""`breastkit calibrate us`: temperature, limits of the ultrasound chain, fitted to one's own pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from breastkit.atomic import atomic_path, make_folder, write_figures
from breastkit.bundle import Bundle
from breastkit.cases import LISTS, CaseList, Item, read_cases
from breastkit.errors import BreastkitError
from breastkit.evaluation import classification_plots as plots
from breastkit.evaluation.classification_evaluation import LABELS, figures_of_answers, parts_of
from breastkit.evaluation.evaluation_report import origin_of, range_text, value_text
from breastkit.images import read_gray
from breastkit.inference.ultrasound import CLASSES, Reading, UltrasoundReader
from breastkit.metrics import Interval, choose_operating_point, fit_temperature, softmax
from breastkit.metrics.classification import MALIGNANT
from breastkit.pipelines import ULTRASOUND
from breastkit.progress import track
from breastkit.report.page import picture, render_page

# Of malignant and of other cases: with fewer, an operating point is a single picture's.
_FEWEST = 10
_SHOWN = ("calibration_error", "auc", "accuracy", "suspicious_recall", "suspicious_specificity", "share_answered")
_P = [f"p_{name}" for name in CLASSES]


def calibrate_chain(
    source: str,
    *,
    out: str,
    split: str | None = None,
    only: str | None = None,
    recall: float = 0.95,
    coverage: float = 0.9,
    segmenter: str | None = None,
    classifier: str | None = None,
    normal_classifier: str | None = None,
    backend: str = "auto",
) -> Path:
    """Fits what `breastkit run us` makes of its networks' answers to pictures of one's own, as few as 100.

    The figures after calibration are of cases left out: it is fitted on four fifths of them and judged on the fifth, in
    turn. The file holds what was fitted on all. Take pictures that the networks have not learnt from.

    Args:
        source: a case list whose pictures have a class (normal, benign, malignant).
        out: the file to write, for --calibration; beside it a page with the figures before and after, and the plots
            of both as pictures.
        split: one list alone: training, validation or test; all of them by default.
        only: the pictures of one site or device alone, as in site=busbra.
        recall: share of the malignant pictures to be flagged as suspicious.
        coverage: share of the pictures to be answered rather than abstained from.
        segmenter: weights for the outline; those in use by default, here and below.
        classifier: weights that tell benign from malignant.
        normal_classifier: weights that can say normal; those the bundle ships by default.
        backend: torch, openvino or auto.

    Returns:
        The page.

    Raises:
        BreastkitError: if a picture has no class, or there are too few malignant ones or others.
    """
    cases = read_cases(source)
    items = _labelled(cases, split, only)
    reader = UltrasoundReader.of_bundle(
        Bundle(ULTRASOUND),
        segmenter=segmenter,
        classifier=classifier,
        normal_classifier=normal_classifier,
        backend=backend,
    )
    rows = [
        _row(item, reader.read(read_gray(item["image"]), explain=False))
        for item in track(items, "pictures", unit="picture")
    ]
    before = pd.DataFrame(rows)
    rule = _fitted(before, recall=recall, coverage=coverage)
    after = _judged_by_others(before, recall=recall, coverage=coverage)
    figures = {"before": figures_of_answers(before, CLASSES), "after": figures_of_answers(after, CLASSES)}
    path = Path(out)
    make_folder(path.parent)
    facts = {
        **rule,
        "weights": reader.weights,
        "pictures": len(before),
        "cases": int(before["case"].nunique()),
        "classes": before["class"].value_counts().to_dict(),
        "split": split or "all",
        "only": only,
        "case_list_hash": cases.hash,
    }
    write_figures(path, {**facts, "figures": figures})
    return _write_page(path.with_suffix(".html"), facts, figures, before, after)


def _labelled(cases: CaseList, split: str | None, only: str | None) -> list[Item]:
    """Returns the pictures to fit on."""
    items = cases.split(split) if split else [item for name in LISTS for item in getattr(cases, name)]
    if only is not None:
        fact, _, value = only.partition("=")
        items = [item for item in items if str(item.get(fact)) == value]
    strange = next((item for item in items if item.get("class") not in CLASSES), None)
    if strange is not None:
        raise BreastkitError(f"{strange['image']} has no class of {', '.join(CLASSES)} in {cases.path}; give it one.")
    malignant = {str(item.get("case")) for item in items if item["class"] == MALIGNANT}
    others = {str(item.get("case")) for item in items if item["class"] != MALIGNANT}
    if min(len(malignant), len(others)) < _FEWEST:
        raise BreastkitError(
            f"{cases.path} holds {len(malignant)} malignant and {len(others)} other cases; "
            f"a calibration needs {_FEWEST} of both."
        )
    return items


def _row(item: Item, reading: Reading) -> dict[str, Any]:
    return {
        "case": str(item.get("case", item["image"])),
        "class": item["class"],
        **origin_of(item),
        **{f"p_{name}": reading.probabilities[name] for name in CLASSES},
        "predicted": reading.label,
        "correct": reading.label == item["class"],
        "suspicious": reading.suspicious,
        "uncertainty": reading.uncertainty,
        "abstain": reading.abstain,
        "mask_dice": np.nan,
    }


def _fitted(table: pd.DataFrame, *, recall: float, coverage: float) -> dict[str, float]:
    """Returns temperature and limits that fit the pictures of a table."""
    logits = np.log(np.clip(table[_P].to_numpy(), 1e-12, None))
    temperature = round(fit_temperature(logits, table["class"].map(CLASSES.index).to_numpy()), 5)
    malignant = softmax(logits / temperature)[:, CLASSES.index(MALIGNANT)]
    point = choose_operating_point(malignant, (table["class"] == MALIGNANT).to_numpy(), recall=recall)
    return {
        "temperature": temperature,
        "suspicious_from": round(point.threshold, 5),
        "abstain_above": round(float(np.quantile(table["uncertainty"], coverage)), 5),
        "recall": point.recall,
        "specificity": point.specificity,
    }


def _judged_by_others(table: pd.DataFrame, *, recall: float, coverage: float) -> pd.DataFrame:
    """Returns the answers after calibration, each case by what was fitted on others."""
    judged = []
    for tuned, held_out in parts_of(table["class"].map(CLASSES.index).to_numpy(), table["case"]):
        rule, rows = _fitted(table.iloc[tuned], recall=recall, coverage=coverage), table.iloc[held_out].copy()
        rows[_P] = softmax(np.log(np.clip(rows[_P].to_numpy(), 1e-12, None)) / rule["temperature"])
        rows["suspicious"] = rows[f"p_{MALIGNANT}"] >= rule["suspicious_from"]
        rows["abstain"] = rows["uncertainty"] > rule["abstain_above"]
        judged.append(rows)
    return pd.concat(judged).sort_index()


def _write_page(
    path: Path,
    facts: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, Interval]],
    before: pd.DataFrame,
    after: pd.DataFrame,
) -> Path:
    names = {**LABELS, "share_answered": "share answered"}
    drawings = []
    for table, when in ((before, "Before"), (after, "After")):
        drawing = plots.reliability(table[f"p_{MALIGNANT}"].to_numpy(), (table["class"] == MALIGNANT).to_numpy())
        with atomic_path(path.with_name(f"{path.stem}_{when.lower()}.png")) as temporary:
            drawing.savefig(temporary, format="png", dpi=150)
        drawings.append((drawing, when))
    return render_page(
        "calibration.html",
        path,
        title="Calibration of the ultrasound chain",
        facts=facts,
        rows=[{"name": names[name], **{when: _text(told[name]) for when, told in figures.items()}} for name in _SHOWN],
        plots=[{"picture": picture(drawing), "caption": when} for drawing, when in drawings],
    )


def _text(interval: Interval) -> str:
    return f"{value_text(interval.value)} ({range_text(interval)})"
