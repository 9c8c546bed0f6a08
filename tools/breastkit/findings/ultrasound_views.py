"""Several views of one lesion: one answer from all of them, and how much they disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from breastkit.findings.study_findings import PictureFindings
from breastkit.inference.ultrasound import CLASSES
from breastkit.metrics.classification import MALIGNANT, most_probable

CASE_COLUMNS = (
    "case", "pictures", "class", "p_normal", "p_benign", "p_malignant", "suspicious", "abstain", "disagreement",
    "files",
)  # fmt: skip


class Views:
    """The answers of a run's pictures by case; of the arrays nothing is kept."""

    def __init__(self) -> None:
        self._views: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def add(self, findings: PictureFindings) -> None:
        """Takes a picture in, unless it belongs to no case."""
        if findings.case is None:
            return
        reading = findings.reading
        view = {"file": findings.file, "from": reading.suspicious_from, "abstain": reading.abstain}
        self._views[findings.case].append(view | {"probabilities": reading.probabilities})

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row a case, in the order their first pictures came."""
        return [_answer(case, views) for case, views in self._views.items()]


def _answer(case: str, views: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the row of a case: means over its views, flagged and abstained from as most of them would be."""
    table = np.array([[view["probabilities"][name] for name in CLASSES] for view in views])
    probabilities = dict(zip(CLASSES, table.mean(0).tolist(), strict=True))
    malignant = table[:, CLASSES.index(MALIGNANT)]
    return {
        "case": case,
        "pictures": len(views),
        "class": most_probable(probabilities),
        **{f"p_{name}": value for name, value in rounded(probabilities).items()},
        "suspicious": int(probabilities[MALIGNANT] >= np.mean([view["from"] for view in views])),
        "abstain": int(np.mean([view["abstain"] for view in views]) > 0.5),
        "disagreement": round(float(malignant.max() - malignant.min()), 4),
        "files": ";".join(view["file"] for view in views),
    }


def rounded(probabilities: Mapping[str, float], digits: int = 4) -> dict[str, float]:
    """Returns probabilities with few digits that still sum to 1: the largest takes what rounding leaves over."""
    few = {name: round(value, digits) for name, value in probabilities.items()}
    largest = max(few, key=few.__getitem__)
    few[largest] = round(1 - sum(value for name, value in few.items() if name != largest), digits)
    return few
