"""The image library of a structured report: what was read, what its images have in common said once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from breastkit.lazy_imports import imported_later

if TYPE_CHECKING:
    import highdicom.sr as hd
else:
    hd = imported_later("highdicom.sr")

_SOURCE = Code("260753009", "SCT", "Source")
_POSITIONS = (codes.DCM.ImagePositionPatientX, codes.DCM.ImagePositionPatientY, codes.DCM.ImagePositionPatientZ)
_TOLD = ("SOPClassUID", "SOPInstanceUID", "Modality", "FrameOfReferenceUID", "Rows", "Columns")
_GEOMETRY = ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient")
# What tells the images of a group apart.
_OWN = ("SOPInstanceUID", "ImagePositionPatient")


def image_library(headers: Iterable[Dataset]) -> hd.ContainerContentItem:
    """Returns TID 1600 with a group for the images of a series that differ by their place alone.

    highdicom's own repeats all of TID 1602 for every image: of a dynamic study with thousands of items, which take
    longer to write than everything else of a report.

    Args:
        headers: of the images, at least one.
    """
    groups: dict[tuple[str, str], list[Dataset]] = {}
    for header in headers:
        entry = _entry(header)
        shared = [(element.tag, element.value) for element in entry if element.keyword not in _OWN]
        groups.setdefault((header.SeriesInstanceUID, str(shared)), []).append(entry)
    return _container(codes.DCM.ImageLibrary, [_group(entries) for entries in groups.values()])


def _entry(header: Dataset) -> Dataset:
    """Returns of a header what the library tells; highdicom takes it for granted that geometry is whole or none.

    It is none for multi-frame objects, whose frames lie apart, and where a header leaves out the thickness.
    """
    entry = Dataset()
    placed = () if "NumberOfFrames" in header else (*_GEOMETRY, "SpacingBetweenSlices")
    for name in (*_TOLD, *placed):
        if header.get(name) not in (None, ""):
            setattr(entry, name, header.get(name))
    if any(name not in entry for name in _GEOMETRY):
        # Which asks for geometry by the modality; the modality itself it takes from the class.
        entry.Modality = ""
    return entry


def _group(entries: Sequence[Dataset]) -> hd.ContainerContentItem:
    described = hd.ImageLibraryEntryDescriptors(entries[0])
    shared = [item for item in described if item.name not in _POSITIONS]
    placed = len(shared) < len(described)
    return _container(codes.DCM.ImageLibraryGroup, [*shared, *(_image(entry, placed) for entry in entries)])


def _image(entry: Dataset, placed: bool) -> hd.ImageContentItem:
    contains = hd.RelationshipTypeValues.CONTAINS
    item = hd.ImageContentItem(_SOURCE, entry.SOPClassUID, entry.SOPInstanceUID, relationship_type=contains)
    if placed:
        context = hd.RelationshipTypeValues.HAS_ACQ_CONTEXT
        item.ContentSequence = hd.ContentSequence(
            [
                hd.NumContentItem(name, value, codes.UCUM.Millimeter, relationship_type=context)
                for name, value in zip(_POSITIONS, entry.ImagePositionPatient, strict=True)
            ]
        )
    return item


def _container(name: Code, items: Sequence[Any]) -> hd.ContainerContentItem:
    container = hd.ContainerContentItem(name, relationship_type=hd.RelationshipTypeValues.CONTAINS)
    container.ContentSequence = hd.ContentSequence(items)
    return container
