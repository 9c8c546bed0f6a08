"""What a segment of a DICOM segmentation shows: its SNOMED CT codes and the colour viewers give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from breastkit.errors import BreastkitError

_ANATOMY = codes.SCT.AnatomicalStructure
_TISSUE = codes.SCT.Tissue
_ABNORMAL = codes.SCT.MorphologicallyAbnormalStructure


@dataclass(frozen=True)
class SegmentCodes:
    """How a kind of segment is coded.

    Attributes:
        label: what people call it.
        category: the segmented property category (DICOM's context group 7150).
        type: the segmented property type (context group 7151).
        region: where it lies, None where the type says it.
        colour: red, green and blue of the recommended display, 0 to 255.
    """

    label: str
    category: Code
    type: Code
    region: Code | None
    colour: tuple[int, int, int]

    @classmethod
    def of(
        cls,
        label: str,
        category: Sequence[str],
        type_: Sequence[str],
        region: Sequence[str] | None,
        colour: tuple[int, int, int],
    ) -> SegmentCodes:
        """Returns codes that are spelled out, each as value, scheme and meaning."""
        return cls(label, Code(*category), Code(*type_), Code(*region) if region else None, colour)


class SegmentKind(Enum):
    """The kinds of segments this project makes."""

    BREAST = "breast"
    FIBROGLANDULAR_TISSUE = "fibroglandular_tissue"
    BREAST_LESION = "breast_lesion"
    BREAST_NEOPLASM = "breast_neoplasm"
    BRAIN_NEOPLASM = "brain_neoplasm"

    @property
    def codes(self) -> SegmentCodes:
        """How this kind is coded."""
        return _CODES[self]

    @classmethod
    def of(cls, kind: SegmentKind | str) -> SegmentKind:
        """Returns the kind of a name.

        Raises:
            BreastkitError: if there is no such kind.
        """
        try:
            return cls(kind)
        except ValueError as error:
            known = ", ".join(one.value for one in cls)
            raise BreastkitError(f"'{kind}' is no kind of segment; choose one of {known}.") from error

    @classmethod
    def coded_as(cls, kind: Code, region: Code | None) -> SegmentKind | None:
        """Returns the kind with this property type and region, None if it is none of ours."""
        if kind in _SYNONYMS:
            return _SYNONYMS[kind]
        matches = [
            one
            for one in cls
            # Code cannot be compared with None.
            if one.codes.type == kind and (region is None or (one.codes.region and one.codes.region == region))
        ]
        return matches[0] if len(matches) == 1 else None


# SNOMED CT has no structure that is called fibroglandular tissue: it is the parenchyma of the breast.
_CODES = {
    SegmentKind.BREAST: SegmentCodes("Breast", _ANATOMY, codes.SCT.Breast, None, (231, 159, 60)),
    SegmentKind.FIBROGLANDULAR_TISSUE: SegmentCodes(
        "Fibroglandular tissue", _TISSUE, codes.SCT.Parenchyma, codes.SCT.Breast, (86, 180, 233)
    ),
    SegmentKind.BREAST_LESION: SegmentCodes(
        "Lesion of breast", _ABNORMAL, codes.SCT.Lesion, codes.SCT.Breast, (214, 39, 40)
    ),
    SegmentKind.BREAST_NEOPLASM: SegmentCodes(
        "Neoplasm of breast", _ABNORMAL, codes.SCT.Neoplasm, codes.SCT.Breast, (196, 30, 120)
    ),
    SegmentKind.BRAIN_NEOPLASM: SegmentCodes(
        "Neoplasm of brain", _ABNORMAL, codes.SCT.Neoplasm, codes.SCT.Brain, (170, 60, 200)
    ),
}
# How the public segmentations of the Duke breast MRI collection code it.
_SYNONYMS = {Code("C114467", "NCIt", "Mammary Fibroglandular Tissue"): SegmentKind.FIBROGLANDULAR_TISSUE}
