"""Figures: overlap and distance of masks, and how certain a mean or a difference is."""

from breastkit.metrics.intervals import Interval, PairedTest, bootstrap_interval, paired_test
from breastkit.metrics.segmentation import dice, hd95, iou, segmentation_metrics, slice_metrics, volume_error_ml

__all__ = [
    "Interval",
    "PairedTest",
    "bootstrap_interval",
    "dice",
    "hd95",
    "iou",
    "paired_test",
    "segmentation_metrics",
    "slice_metrics",
    "volume_error_ml",
]
