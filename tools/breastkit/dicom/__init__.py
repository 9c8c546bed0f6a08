"""DICOM: series in, and the only place that knows pydicom and highdicom."""

from breastkit.dicom.read_series import (
    FolderContents,
    Series,
    holds_dicom,
    is_dicom,
    list_series,
    read_folder,
    read_series,
    sort_files,
)
from breastkit.dicom.read_us import (
    count_us_frames,
    count_us_pixels,
    read_us_colour_share,
    read_us_frame,
    us_tissue_window,
    why_no_ultrasound,
)
from breastkit.dicom.split_times import seconds_between, split_times

__all__ = [
    "FolderContents",
    "Series",
    "count_us_frames",
    "count_us_pixels",
    "holds_dicom",
    "is_dicom",
    "list_series",
    "read_folder",
    "read_series",
    "read_us_colour_share",
    "read_us_frame",
    "seconds_between",
    "sort_files",
    "split_times",
    "us_tissue_window",
    "why_no_ultrasound",
]
