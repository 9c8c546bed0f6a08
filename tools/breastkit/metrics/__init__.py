"""Figures: overlap and distance of masks, classes and their probabilities, how certain a mean or a difference is."""

from breastkit.metrics.calibration import calibration_error, fit_temperature, reliability_bins
from breastkit.metrics.classification import (
    OperatingPoint,
    auc,
    choose_operating_point,
    class_probabilities,
    most_probable,
    softmax,
    suspicious,
)
from breastkit.metrics.intervals import (
    Interval,
    PairedTest,
    bootstrap_interval,
    grouped_interval,
    paired_test,
    share_interval,
)
from breastkit.metrics.segmentation import dice, hd95, iou, segmentation_metrics, slice_metrics, volume_error_ml

__all__ = [
    "Interval",
    "OperatingPoint",
    "PairedTest",
    "auc",
    "bootstrap_interval",
    "calibration_error",
    "choose_operating_point",
    "class_probabilities",
    "dice",
    "fit_temperature",
    "grouped_interval",
    "hd95",
    "iou",
    "most_probable",
    "paired_test",
    "reliability_bins",
    "segmentation_metrics",
    "share_interval",
    "slice_metrics",
    "softmax",
    "suspicious",
    "volume_error_ml",
]
