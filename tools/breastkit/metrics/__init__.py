"""Figures: overlap and distance of masks, and how certain a mean or a difference is."""

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
    "PairedTest",
    "bootstrap_interval",
    "dice",
    "grouped_interval",
    "hd95",
    "iou",
    "paired_test",
    "segmentation_metrics",
    "share_interval",
    "slice_metrics",
    "volume_error_ml",
]
