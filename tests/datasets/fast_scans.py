"""Dynamic scans that are one DICOM series with a volume many times over, as fast protocols (QIN) store them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from breastkit.dicom.write_mr import MrStudy, write_mr_series

AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])
MARKS = ("AcquisitionTime", "TemporalPositionIdentifier")


def write_fast_scan(
    folder: Path,
    volumes: Sequence[np.ndarray],
    *,
    step_s: float = 20.0,
    marks: Sequence[str] = MARKS,
    study: MrStudy | None = None,
) -> Path:
    """Writes volumes as one series.

    Args:
        folder: of the series.
        volumes: in time.
        step_s: from one to the next.
        marks: which headers tell the times apart; in all others they are alike.
        study: patient and study.
    """
    study = study or MrStudy("p1", "u1")
    folder.mkdir(parents=True, exist_ok=True)
    for time, volume in enumerate(volumes):
        one = folder / f"time{time}"
        write_mr_series(one, volume, AFFINE, study, number=1, description="fast", start_s=step_s * time)
        for k, path in enumerate(sorted(one.glob("*.dcm"))):
            image = pydicom.dcmread(path)
            values = {mark: image.get(mark) for mark in ("AcquisitionTime", "TriggerTime")}
            values |= dict.fromkeys(("TemporalPositionIdentifier", "AcquisitionNumber"), time + 1)
            image.ContentTime = image.SeriesTime = "090000"
            image.AcquisitionTime, image.AcquisitionNumber, image.TriggerTime = "090000", 1, 0
            for mark in marks:
                setattr(image, mark, values[mark])
            image.InstanceNumber = time * volume.shape[2] + k + 1
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = study.uid("fast", time, k)
            image.save_as(folder / f"{time:03d}_{k:04d}.dcm", enforce_file_format=True)
        shutil.rmtree(one)
    return folder
