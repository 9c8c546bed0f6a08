"""DICOM images of input that is none, so that segmentations and reports have something to refer to."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import replaced_folder
from breastkit.dicom import list_series
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.dicom.write_sc import write_picture
from breastkit.findings.study_findings import MriFindings, PictureFindings, StudyFindings

Found = TypeVar("Found", bound=StudyFindings)

# The largest value that is written of what was measured in other steps than whole numbers.
_MOST = 4095


def with_dicom_images(findings: Found, folder: Path) -> Found:
    """Returns findings with DICOM images of what was outlined, written to ``dicom/`` in a folder.

    Of a study this is the phase that is outlined, of pictures each of them. Their identifiers follow from the hash of
    the input's file, so that the same input gives the same images.

    Args:
        findings: of input that is no DICOM.
        folder: of the run.

    Raises:
        BreastkitError: if a volume has no place in DICOM, because its axes are not perpendicular.
    """
    if isinstance(findings, MriFindings):
        images = _series(findings, folder / "dicom" / "images")
    elif isinstance(findings, PictureFindings):
        images = _picture(findings, folder / "dicom" / f"{findings.name}_image.dcm")
    else:
        raise TypeError(f"no images can be made of {type(findings).__name__}")
    return replace(findings, made_images=(images,))


def _series(findings: MriFindings, folder: Path) -> Any:
    phases, number = findings.phases, findings.outlined_on
    source = phases.paths[number]
    study = MrStudy(findings.name[:64], _sha256(source), derived_from=f"phase {number} of a study in NIfTI")
    volume, description = _whole_numbers(phases.restore(phases.arrays[number])), f"Phase {number}, from NIfTI"
    with replaced_folder(folder) as temporary:
        write_mr_series(temporary / f"phase_{number}", volume, phases.affine, study, number=1, description=description)
    (series,) = list_series(folder)
    return series


def _picture(findings: PictureFindings, path: Path) -> Path:
    (source,) = (Path(str(each)) for each in findings.sources)
    return write_picture(path, findings.picture.gray, name=findings.name, sha256=_sha256(source))


def _whole_numbers(volume: NDArray[Any]) -> NDArray[np.int16]:
    """Returns intensities as DICOM holds them: as they are if whole and small, else on a scale of 12 bits."""
    low, high = float(volume.min()), float(volume.max())
    if low >= -32768 and high <= 32767 and not (volume % 1).any():
        return volume.astype(np.int16)
    scaled: NDArray[np.int16] = np.rint((volume - low) * (_MOST / max(high - low, 1e-6))).astype(np.int16)
    return scaled


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
