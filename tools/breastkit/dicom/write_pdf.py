"""Encapsulated PDF out: a report as a DICOM object in the study it tells of."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from breastkit.atomic import atomic_path
from breastkit.dicom.derived_objects import DerivedUids, study_of, take_times_of
from breastkit.dicom.source_images import SourceImages
from breastkit.lazy_imports import imported_later

if TYPE_CHECKING:
    import highdicom
else:
    highdicom = imported_later("highdicom")

_PACKAGE = "breastkit"


def write_encapsulated_pdf(
    path: str | Path,
    pdf: bytes,
    images: SourceImages,
    *,
    title: str,
    uid_source: str,
    series_number: int = 902,
    description: str = "Report",
) -> Path:
    """Writes a PDF as a DICOM object.

    Args:
        path: the file to write.
        pdf: the content of the PDF.
        images: what it reports on.
        title: of the document.
        uid_source: identifiers follow from it and the images, so that a repeated run replaces the object.
        series_number: SeriesNumber of the object.
        description: SeriesDescription.

    Returns:
        The path.

    Raises:
        BreastkitError: if the file cannot be written.
    """
    header = images.headers[0]
    uids = DerivedUids(uid_source, header)
    with warnings.catch_warnings():
        # It would print the patient's name.
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent")
        result = highdicom.SOPClass(
            **study_of(header),
            series_instance_uid=uids.make("pdf series"),
            series_number=series_number,
            sop_instance_uid=uids.make("pdf"),
            sop_class_uid=EncapsulatedPDFStorage,
            instance_number=1,
            modality="DOC",
            manufacturer=_PACKAGE,
            manufacturer_model_name=_PACKAGE,
            software_versions=version(_PACKAGE),
            device_serial_number="0",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description=description[:64],
            content_date=header.StudyDate or "19700101",
            content_time=header.StudyTime or "000000",
        )
    result.AcquisitionDateTime = ""
    result.BurnedInAnnotation = "YES"
    result.ConversionType = "WSD"
    result.DocumentTitle = title[:1024]
    result.ConceptNameCodeSequence = [highdicom.sr.CodedConcept.from_code(codes.DCM.ImagingMeasurementReport)]
    result.SourceInstanceSequence = [_reference(each) for each in images.headers]
    result.MIMETypeOfEncapsulatedDocument = "application/pdf"
    result.EncapsulatedDocumentLength = len(pdf)
    # Values have an even length in DICOM.
    result.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    take_times_of(result, header)
    with atomic_path(path) as temporary:
        result.save_as(temporary, enforce_file_format=True)
    return Path(path)


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item
