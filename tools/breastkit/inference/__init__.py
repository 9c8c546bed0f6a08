"""Running trained networks: one predictor for all bundles, and what is made of its outputs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from breastkit.weights import fold_weights_beside

_HOMES = {
    "AroundBody": "around_body",
    "AxialView": "axial_view",
    "Backend": "backends",
    "ClassSampling": "class_sampling",
    "ClassOutputs": "class_outputs",
    "FindRegionsd": "mri_study",
    "FlipAveraging": "flip_averaging",
    "Inputs": "inputs",
    "LesionDetector": "mri_detection",
    "LesionBoxes": "lesion_boxes",
    "LesionResults": "mri_results",
    "LoadStudyd": "mri_study",
    "MasksOfPictures": "masks_of_pictures",
    "Ensemble": "ensemble",
    "EnsembleSource": "ensemble",
    "PictureOutputs": "picture_outputs",
    "Precision": "backends",
    "Predictor": "predictor",
    "ReadableCases": "readable_cases",
    "Results": "results",
    "TissueResults": "tissue_results",
    "UltrasoundReader": "ultrasound",
    "find_candidate": "candidate",
    "find_inputs": "inputs",
    "find_studies": "mri_inputs",
    "find_ultrasound": "ultrasound_inputs",
    "measure_candidate": "features",
    "read_ultrasound": "ultrasound_inputs",
}

__all__ = ["fold_weights_beside", *_HOMES]


def __getattr__(name: str) -> Any:
    # Imported when asked for: what only draws slices need not wait for torch.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
