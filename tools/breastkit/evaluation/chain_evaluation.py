"""What the whole ultrasound chain is worth: every picture read by networks that have not seen it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from breastkit.atomic import make_folder
from breastkit.bundle import Bundle
from breastkit.cases import CaseList, Item, read_cases
from breastkit.errors import BreastkitError
from breastkit.evaluation.classification_evaluation import ClassificationEvaluation
from breastkit.evaluation.evaluation_report import origin_of
from breastkit.images import read_gray, read_mask, stem, write_png
from breastkit.inference.ultrasound import CLASSES, LesionClassifier, Reading, UltrasoundReader
from breastkit.pictures import PREDICTION, grid, outline
from breastkit.pipelines import ULTRASOUND
from breastkit.progress import track
from breastkit.training.decision_search import rule_over
from breastkit.weights import read_model_json

_RULE = ("temperature", "threshold", "abstain_above")
_TILE = 320


def evaluate_chain(
    source: str,
    *,
    lesion_runs: Sequence[str],
    normal_runs: Sequence[str],
    out: str,
    backend: str = "auto",
    prevalence: float = 0.3,
) -> Path:
    """Evaluates what `breastkit run us` answers, by cross-validation.

    Every picture is read with the mask of a segmenter and by two classifiers that have not seen it. Their rules are
    chosen on the other folds, so nothing was chosen on the pictures it is judged by.

    Args:
        source: a case list with masks, as `breastkit data crossfit` writes it.
        lesion_runs: runs of all folds of a variant that tells benign from malignant; give the option once a fold.
        normal_runs: runs of the same folds, in the same order, of a variant that knows normal pictures.
        out: the folder to write metrics.csv, summary.json and index.html to.
        backend: torch, openvino or auto.
        prevalence: share of malignant ones at which the decision curve is drawn.

    Returns:
        The evaluation's page.

    Raises:
        BreastkitError: if the runs are not two or more folds of both, or a picture has no mask or was seen by all.
    """
    if len(lesion_runs) != len(normal_runs) or len(lesion_runs) < 2:
        raise BreastkitError(
            f"{len(lesion_runs)} and {len(normal_runs)} runs were named; name the same two or more folds "
            "of both classifiers."
        )
    cases = read_cases(source)
    judged = list(_by_fold(cases, lesion_runs, normal_runs))
    first = [read_model_json(runs[0]) for runs in (normal_runs, lesion_runs)]
    evaluation = ClassificationEvaluation(
        out,
        classes=CLASSES,
        prevalence=prevalence,
        facts={
            "bundle": ULTRASOUND,
            "architecture": " and ".join(facts["architecture"] for facts in first),
            "split": f"{len(lesion_runs)} folds",
            "masks": "predicted",
            "started_from": first[1].get("started_from"),
            "case_list_hash": cases.hash,
        },
    )
    make_folder(out)
    rows = []
    for item, reader in track(
        _with_readers(judged, lesion_runs, normal_runs, backend), "pictures", unit="picture", total=len(judged)
    ):
        gray, mask = read_gray(item["image"]), read_mask(item["predicted_mask"]) > 0
        reading = reader.read(gray, explain=False, mask=mask)
        rows.append(_row(item, reading))
        write_png(evaluation.picture_of(rows[-1]["image"]), grid([[gray, outline(gray, mask, PREDICTION)]], tile=_TILE))
    evaluation.write(pd.DataFrame(rows), {"chosen": "on the other folds"})
    return Path(out) / "index.html"


def _by_fold(cases: CaseList, lesion_runs: Sequence[str], normal_runs: Sequence[str]) -> Iterator[tuple[int, Item]]:
    """Yields every picture with the number of a fold neither of whose classifiers has seen it, fold after fold."""
    unseen = [tuple(frozenset(_unseen(run)) for run in pair) for pair in zip(lesion_runs, normal_runs, strict=True)]
    known = frozenset().union(*(names for names, _ in unseen))
    by_fold: list[list[Item]] = [[] for _ in unseen]
    for _, item in cases.items():
        name = stem(item["image"])
        if "predicted_mask" not in item:
            raise BreastkitError(
                f"{item['image']} has no mask in {cases.path}; add masks with 'breastkit data crossfit'."
            )
        # A variant that tells lesions apart was never shown a normal picture, whatever its fold.
        fits = [
            k for k, (lesions, all_) in enumerate(unseen) if name in all_ and (name in lesions or name not in known)
        ]
        if not fits:
            raise BreastkitError(f"{item['image']} was seen by all the networks named; name the runs of all folds.")
        by_fold[fits[0]].append(item)
    yield from ((fold, item) for fold, items in enumerate(by_fold) for item in items)


def _unseen(run: str) -> Sequence[str]:
    names: list[str] | None = read_model_json(run).get("unseen")
    if not names:
        raise BreastkitError(f"{run} does not say which pictures it has not seen; name runs trained with --fold K.")
    return names


def _with_readers(
    judged: Sequence[tuple[int, Item]], lesion_runs: Sequence[str], normal_runs: Sequence[str], backend: str
) -> Iterator[tuple[Item, UltrasoundReader]]:
    """Yields every picture with what reads it; the networks of one fold at a time are in memory."""
    for fold, items in groupby(judged, key=lambda one: one[0]):
        both = [_classifier(runs, fold, backend) for runs in (lesion_runs, normal_runs)]
        reader = UltrasoundReader(None, *both)
        yield from ((item, reader) for _, item in items)


def _classifier(runs: Sequence[str], fold: int, backend: str) -> LesionClassifier:
    rule = rule_over([run for number, run in enumerate(runs) if number != fold])
    return LesionClassifier(
        runs[fold], bundle=Bundle(ULTRASOUND), backend=backend, rule={name: rule[name] for name in _RULE}
    )


def _row(item: Item, reading: Reading) -> dict[str, Any]:
    name = Path(item["image"]).name
    return {
        "case": str(item.get("case", name)),
        "image": name,
        "class": item["class"],
        **origin_of(item),
        **{f"p_{kind}": reading.probabilities[kind] for kind in CLASSES},
        "predicted": reading.label,
        "correct": int(reading.label == item["class"]),
        "suspicious": reading.suspicious,
        "uncertainty": reading.uncertainty,
        "abstain": reading.abstain,
        "mask_dice": float(item.get("predicted_dice", np.nan)),
    }
