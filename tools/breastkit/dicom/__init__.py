"""DICOM: series in, and the only place that knows pydicom and highdicom."""

from breastkit.dicom.read_series import (
    FolderContents,
    Series,
    holds_dicom,
    is_dicom,
    list_series,
    read_folder,
    read_series,
)

__all__ = ["FolderContents", "Series", "holds_dicom", "is_dicom", "list_series", "read_folder", "read_series"]
