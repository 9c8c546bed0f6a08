"""What evaluate.json and `compare` compute and show: figures with intervals, pages with the worst cases first."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "ClassificationEvaluation": "classification_evaluation",
    "DetectionEvaluation": "detection_evaluation",
    "EvaluationReport": "evaluation_report",
    "LesionEvaluation": "lesion_evaluation",
    "PictureEvaluation": "picture_evaluation",
    "compare_runs": "comparison",
}

__all__ = [
    "ClassificationEvaluation",
    "DetectionEvaluation",
    "EvaluationReport",
    "LesionEvaluation",
    "PictureEvaluation",
    "compare_runs",
]


def __getattr__(name: str) -> Any:
    # Imported when asked for: a page on a data set need not wait for torch, which measuring a network brings in.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
