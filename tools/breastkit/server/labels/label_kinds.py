"""What the labels of bundles show, by their name, as DICOM segmentations code it."""

from __future__ import annotations

from breastkit.bundle import Bundle
from breastkit.dicom.segment_kinds import SegmentCodes

# Of labels whose bundle gives them none.
_RED = (214, 39, 40)


def kinds_of(bundle: Bundle) -> dict[str, SegmentCodes]:
    """Returns what the labels of a bundle show, by name, of those that are coded."""
    return {
        name: SegmentCodes.of(name, one.category, one.type, one.region, one.colour or _RED)
        for name, one in bundle.purpose.labels.items()
        if one.category and one.type
    }
