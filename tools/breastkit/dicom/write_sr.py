"""DICOM structured reports out: what was measured and judged of each finding, by TID 1500, beside its segmentation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from breastkit.atomic import atomic_path
from breastkit.dicom.derived_objects import DerivedUids, Side, take_times_of
from breastkit.dicom.image_library import image_library
from breastkit.dicom.report_codes import ANSWERS, EVALUATIONS, MEASUREMENTS, PRIVATE_SCHEME, UNITS
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.source_images import SourceImages
from breastkit.dicom.write_seg import Algorithm
from breastkit.lazy_imports import imported_later

if TYPE_CHECKING:
    import highdicom.sr as hd
else:
    hd = imported_later("highdicom.sr")

_PACKAGE = "breastkit"
# A number is at most 16 characters long in DICOM.
_DIGITS = 6


class Procedure(Enum):
    """What was done to the patient."""

    BREAST_MRI = codes.SCT.MRIOfBreast
    BREAST_ULTRASOUND = codes.SCT.UltrasonographyOfBreast


@dataclass(frozen=True)
class MeasuredLine:
    """A line on an image along which something was measured; viewers draw it.

    Attributes:
        length_mm: its length.
        ends: column and row of either end, in pixels from the corner of the image.
        image: header of the image.
        frame: of a multi-frame image, from 1; None of a single one.
    """

    length_mm: float
    ends: NDArray[np.float64]
    image: Dataset
    frame: int | None = None


@dataclass(frozen=True)
class ReportedFinding:
    """One finding of a report.

    Attributes:
        tracking_id: what it is called; of a segment with one of its own, the same.
        kind: what it is; None where nothing was found.
        segment: number of its segment.
        frame: of a picture or clip, the frame it was found in, from 1; None for a finding in a volume.
        side: of the patient, where it is known.
        measurements: value and unit (UCUM) by the names of `report_codes.MEASUREMENTS`.
        evaluations: answers by the names of `report_codes.EVALUATIONS`.
        lines: what was measured along lines on images, by the names of `report_codes.MEASUREMENTS`.
        algorithm: what found and measured it.
    """

    tracking_id: str
    kind: SegmentKind | None = None
    segment: int | None = None
    frame: int | None = None
    side: Side | None = None
    measurements: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    evaluations: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, MeasuredLine] = field(default_factory=dict)
    algorithm: Algorithm | None = None


def write_structured_report(
    path: str | Path,
    findings: Sequence[ReportedFinding],
    segmentation: str | Path,
    images: Sequence[SourceImages],
    procedure: Procedure,
    *,
    uid_source: str,
    series_number: int = 901,
    description: str = "Measurements",
) -> Path:
    """Writes findings as a structured report with an image library and a measurement group for each of them.

    Args:
        path: the file to write.
        findings: at least one.
        segmentation: the file with their segments; it must be written before.
        images: all that was read, those that the segmentation was made of among them.
        procedure: what was done to the patient.
        uid_source: identifiers follow from it and the images, so that the same findings give the same file.
        series_number: SeriesNumber of the report.
        description: SeriesDescription.

    Returns:
        The path.

    Raises:
        BreastkitError: if the file cannot be written.
    """
    outlined = pydicom.dcmread(segmentation, stop_before_pixels=True)
    headers = [header for each in images for header in each.headers]
    uids = DerivedUids(uid_source, headers[0])
    report = hd.MeasurementReport(
        observation_context=hd.ObservationContext(observer_device_context=_observer()),
        procedure_reported=procedure.value,
        imaging_measurements=[group for finding in findings for group in _groups(finding, outlined, headers[0], uids)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    # Behind what was done and before what was measured.
    report[0].ContentSequence.insert(-1, image_library(headers))
    with warnings.catch_warnings():
        # It would print the patient's name.
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent")
        result = hd.Comprehensive3DSR(
            evidence=[*headers, outlined],
            content=report,
            series_instance_uid=uids.make("report series"),
            series_number=series_number,
            sop_instance_uid=uids.make("report"),
            instance_number=1,
            manufacturer=_PACKAGE,
            is_complete=True,
            series_description=description[:64],
            manufacturer_model_name=_PACKAGE,
            software_versions=version(_PACKAGE),
            device_serial_number="0",
        )
    _name_own_scheme(result)
    take_times_of(result, headers[0])
    with atomic_path(path) as temporary:
        result.save_as(temporary, enforce_file_format=True)
    return Path(path)


def _observer() -> hd.ObserverContext:
    device = hd.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[_PACKAGE, "device"]),
        name=_PACKAGE,
        manufacturer_name=_PACKAGE,
        model_name=_PACKAGE,
        serial_number=version(_PACKAGE),
    )
    return hd.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


def _groups(finding: ReportedFinding, outlined: Dataset, header: Dataset, uids: DerivedUids) -> list[Any]:
    """Returns the measurement group of a finding, and one for what was measured along lines.

    That is TID 1411 in a volume, 1410 in a frame and 1501 without an outline. Only the last lets a measurement say
    along which line it was taken; what belongs together has one tracking identifier.
    """
    tracking = hd.TrackingIdentifier(uid=_tracking_uid(finding, outlined, uids), identifier=finding.tracking_id)
    shared: dict[str, Any] = {
        "tracking_identifier": tracking,
        "finding_sites": [hd.FindingSite(codes.SCT.Breast, laterality=finding.side.code if finding.side else None)],
    }
    if finding.kind is not None:
        shared |= {"finding_category": finding.kind.codes.category, "finding_type": finding.kind.codes.type}
    if finding.algorithm is not None:
        shared["algorithm_id"] = hd.AlgorithmIdentification(
            name=finding.algorithm.name, version=finding.algorithm.version, manufacturer=_PACKAGE
        )
    lines = [_measurement(name, line.length_mm, "mm", line=_drawn(line)) for name, line in finding.lines.items()]
    along_lines = [hd.MeasurementsAndQualitativeEvaluations(measurements=lines, **shared)] if lines else []
    shared |= {
        "measurements": [_measurement(name, *value) for name, value in finding.measurements.items()],
        "qualitative_evaluations": [
            hd.QualitativeEvaluation(EVALUATIONS[name], ANSWERS[answer]) for name, answer in finding.evaluations.items()
        ],
    }
    return [_group(finding, outlined, header, shared), *along_lines]


def _group(finding: ReportedFinding, outlined: Dataset, header: Dataset, shared: Mapping[str, Any]) -> Any:
    if finding.segment is None:
        numbers = None if finding.frame is None or "NumberOfFrames" not in header else [finding.frame]
        source = hd.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, numbers)
        return hd.MeasurementsAndQualitativeEvaluations(source_images=[source], **shared)
    if finding.frame is None:
        segment = _whole_segment(outlined, finding.segment)
        return hd.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **shared)
    return hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=_frame_of_segment(outlined, finding.segment, finding.frame, header), **shared
    )


def _tracking_uid(finding: ReportedFinding, outlined: Dataset, uids: DerivedUids) -> str:
    for item in outlined.SegmentSequence:
        if item.SegmentNumber == finding.segment and item.get("TrackingID") == finding.tracking_id:
            return str(item.TrackingUID)
    return uids.make("tracking", finding.tracking_id)


def _measurement(
    name: str, value: float, unit: str, *, line: hd.CoordinatesForMeasurement | None = None
) -> hd.Measurement:
    return hd.Measurement(
        name=MEASUREMENTS[name],
        value=float(f"{value:.{_DIGITS}g}"),
        unit=UNITS[unit],
        referenced_coordinates=None if line is None else [line],
    )


def _drawn(line: MeasuredLine) -> hd.CoordinatesForMeasurement:
    header, numbers = line.image, None if line.frame is None else [line.frame]
    image = hd.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, numbers)
    return hd.CoordinatesForMeasurement(hd.GraphicTypeValues.POLYLINE, line.ends, source_image=image)


@dataclass(frozen=True)
class _OutlinedFrame:
    """A frame of a segmentation: its number, its segment, and the image it outlines with the frame of that."""

    number: int
    segment: int
    source: Dataset
    source_frame: int

    @classmethod
    def all_of(cls, outlined: Dataset) -> list[_OutlinedFrame]:
        shared = outlined.SharedFunctionalGroupsSequence[0]
        frames = []
        for number, item in enumerate(outlined.PerFrameFunctionalGroupsSequence, start=1):
            # A single segment stands once for all frames.
            identified = item.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
            source = item.DerivationImageSequence[0].SourceImageSequence[0]
            segment, frame = identified[0].ReferencedSegmentNumber, source.get("ReferencedFrameNumber", 1)
            frames.append(cls(number, int(segment), source, int(frame)))
        return frames


def _whole_segment(outlined: Dataset, segment: int) -> hd.ReferencedSegment:
    """Returns the reference to a segment of a volume; which images of the series it outlines, itself says."""
    (series,) = outlined.ReferencedSeriesSequence
    return hd.ReferencedSegment(
        sop_class_uid=outlined.SOPClassUID,
        sop_instance_uid=outlined.SOPInstanceUID,
        segment_number=segment,
        source_series=hd.SourceSeriesForSegmentation(series.SeriesInstanceUID),
    )


def _frame_of_segment(outlined: Dataset, segment: int, frame: int, header: Dataset) -> hd.ReferencedSegmentationFrame:
    """Returns the reference to what outlines a segment in a frame of a picture or clip."""
    (number,) = (
        one.number for one in _OutlinedFrame.all_of(outlined) if (one.segment, one.source_frame) == (segment, frame)
    )
    numbers = [frame] if "NumberOfFrames" in header else None
    reference = hd.ReferencedSegmentationFrame(
        sop_class_uid=outlined.SOPClassUID,
        sop_instance_uid=outlined.SOPInstanceUID,
        frame_number=number,
        segment_number=segment,
        source_image=hd.SourceImageForSegmentation(header.SOPClassUID, header.SOPInstanceUID, numbers),
    )
    # A frame has one segment, so that naming both is not allowed.
    del reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return reference


def _name_own_scheme(result: Dataset) -> None:
    """Says whose the codes are that no standard scheme has, where there are any."""
    used = {str(element.value) for element in result.iterall() if element.keyword == "CodingSchemeDesignator"}
    if PRIVATE_SCHEME in used:
        scheme = Dataset()
        scheme.CodingSchemeDesignator = PRIVATE_SCHEME
        scheme.CodingSchemeName = "Codes of breastkit"
        scheme.CodingSchemeResponsibleOrganization = _PACKAGE
        result.CodingSchemeIdentificationSequence = [scheme]
