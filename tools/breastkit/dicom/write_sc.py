"""Secondary captures out: key pictures in the study they show, and pictures that were no DICOM, in one of their own."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from breastkit.atomic import atomic_path
from breastkit.dicom.derived_objects import DerivedUids, forget_times, study_of, take_times_of
from breastkit.dicom.source_images import SourceImages
from breastkit.lazy_imports import imported_later

if TYPE_CHECKING:
    import highdicom.sc as hd
else:
    hd = imported_later("highdicom.sc")

_PACKAGE = "breastkit"


def write_key_picture(
    path: str | Path,
    array: NDArray[Any],
    images: SourceImages,
    *,
    uid_source: str,
    number: int = 1,
    title: str = "",
    series_number: int = 903,
) -> Path:
    """Writes a picture of what was found as a secondary capture.

    Args:
        path: the file to write.
        array: 8-bit, gray or RGB.
        images: what it shows.
        uid_source: identifiers follow from it and the images, so that a repeated run replaces the object.
        number: of the picture in its series, from 1.
        title: what it shows, in words.
        series_number: SeriesNumber of all key pictures.

    Returns:
        The path.

    Raises:
        BreastkitError: if the file cannot be written.
    """
    header = images.headers[0]
    uids = DerivedUids(uid_source, header)
    result = _capture(
        array,
        **study_of(header),
        series_instance_uid=uids.make("key pictures"),
        series_number=series_number,
        sop_instance_uid=uids.make("key picture", str(number)),
        instance_number=number,
        series_description="AI results: key pictures",
    )
    if title:
        result.ImageComments = title
    take_times_of(result, header)
    return _saved(result, path)


def write_picture(path: str | Path, gray: NDArray[Any], *, name: str, sha256: str, modality: str = "US") -> Path:
    """Writes a picture that is no DICOM as a secondary capture in a study of its own, for others to refer to.

    Args:
        path: the file to write.
        gray: 8-bit gray.
        name: of the picture, which stands for the patient's.
        sha256: of its file, from which the identifiers follow.
        modality: that it was taken with.

    Returns:
        The path.

    Raises:
        BreastkitError: if the file cannot be written.
    """
    kinds = ("study", "series", "instance")
    study, series, instance = (generate_uid(entropy_srcs=["breastkit picture", sha256, kind]) for kind in kinds)
    result = _capture(
        gray,
        study_instance_uid=study,
        patient_id=name[:64],
        patient_name=name[:64],
        patient_birth_date="",
        patient_sex="",
        accession_number="",
        study_id="",
        study_date="",
        study_time="",
        referring_physician_name="",
        series_instance_uid=series,
        series_number=1,
        sop_instance_uid=instance,
        instance_number=1,
        series_description="Picture as it was given",
    )
    result.Modality = modality
    forget_times(result)
    return _saved(result, path)


def _capture(array: NDArray[Any], **identity: Any) -> hd.SCImage:
    with warnings.catch_warnings():
        # It would print the patient's name.
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent")
        result = hd.SCImage(
            np.ascontiguousarray(array, dtype=np.uint8),
            photometric_interpretation="RGB" if array.ndim == 3 else "MONOCHROME2",
            bits_allocated=8,
            coordinate_system="PATIENT",
            # Required, and not known of pictures that are put together; it is taken out again.
            patient_orientation=("L", "P"),
            manufacturer=_PACKAGE,
            manufacturer_model_name=_PACKAGE,
            software_versions=version(_PACKAGE),
            device_serial_number="0",
            **identity,
        )
    result.PatientOrientation = []
    result.Laterality = ""
    result.ConversionType = "WSD"
    # The clock has no place in what is the same for the same input.
    del result.DateOfSecondaryCapture, result.TimeOfSecondaryCapture
    return result


def _saved(result: hd.SCImage, path: str | Path) -> Path:
    with atomic_path(path) as temporary:
        result.save_as(temporary, enforce_file_format=True)
    return Path(path)
