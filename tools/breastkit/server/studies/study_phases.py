"""Which images of a store are the phases of one breast MRI study: what models of lesions read beside the one asked for.

Of DICOM they are among the MR series of the same study, wherever their files lie; of NIfTI the files of one folder that
are called ``x_0000.nii.gz`` (before contrast), ``x_0001.nii.gz`` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from breastkit.dce.series import StudyPhases, phases_among
from breastkit.dicom import Series, sort_files
from breastkit.errors import BreastkitError
from breastkit.images import VOLUME_SUFFIXES, stem
from breastkit.logs import get_logger
from breastkit.server.studies.study_images import Form, StudyImage, StudyImages

_log = get_logger(__name__)
PhasesOf = Callable[[StudyImage], StudyPhases]
_NUMBERED = re.compile(r"(?P<study>.+)_(?P<phase>\d{4})")


def phases_in_store(images: StudyImages, image: StudyImage) -> StudyPhases:
    """Returns the phases of the study that an image of a store is one of.

    Args:
        images: the store's.
        image: one of them, or one that was lent.

    Raises:
        BreastkitError: if it is no phase, or the one before contrast or one after it is not there.
    """
    if image.form is not Form.SERIES:
        return phases_beside(image)
    found = phases_of_study(images, str(image.info.get("StudyInstanceUID")))
    series = [phase for phase in found.all if isinstance(phase, Series)]
    if image.id not in {phase.uid for phase in series}:
        named = ", ".join(f"'{phase.description or phase.number}'" for phase in series[:2])
        raise BreastkitError(
            f"Series '{image.id}' is no dynamic phase of its study; choose one that is, for example {named}."
        )
    return found


def phases_of_study(images: StudyImages, study: str) -> StudyPhases:
    """Returns the phases of a study of DICOM series.

    Args:
        images: the store's.
        study: its StudyInstanceUID.

    Raises:
        BreastkitError: if the phase before contrast or one after it is not there.
    """
    of_study = [
        one for one in images.all().values() if one.form is Form.SERIES and one.info.get("StudyInstanceUID") == study
    ]
    files = [path for one in of_study if one.info.get("Modality") == "MR" for path in images.get(one.id).files]
    try:
        return phases_among(sort_files(files), Path("The study"))
    except BreastkitError as error:
        # Its remedies are options of commands, and it names files of the server.
        _log.warning("%s: %s", study, error)
        raise BreastkitError(
            f"The study '{study}' shows no phase before contrast and one after it; models of lesions need both as "
            "series of one study, so store them together."
        ) from error


def phases_beside(image: StudyImage) -> StudyPhases:
    """Returns the phases of the study that a NIfTI file is one of: the numbered files beside it.

    Raises:
        BreastkitError: if it is no phase, or the one before contrast or the first one after it is not there.
    """
    path = image.files[0]
    match = _NUMBERED.fullmatch(stem(path))
    beside = {}
    for other in sorted(path.parent.iterdir()) if match else ():
        numbered = _NUMBERED.fullmatch(stem(other)) if other.name.lower().endswith(VOLUME_SUFFIXES) else None
        if match and numbered and numbered["study"] == match["study"]:
            beside[int(numbered["phase"])] = other
    if match is None or not {0, 1} <= set(beside):
        raise BreastkitError(
            f"'{image.id}' is a single phase; models of lesions need the one before contrast and the first one after "
            "it, as files x_0000.nii.gz and x_0001.nii.gz beside each other, or as DICOM series of one study."
        )
    first, *others = (beside[number] for number in sorted(beside))
    return StudyPhases(match["study"], first, tuple(others))


def group_of(image: StudyImage) -> str:
    """Returns what stays on one side of the split: the patient, the study of a numbered phase, or the image."""
    if image.form is Form.VOLUME:
        with suppress(BreastkitError):
            return phases_beside(image).name
    return str(image.info.get("PatientID") or image.id)
