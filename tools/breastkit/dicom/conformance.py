"""What the DICOM conformance statement tells of objects and codes: made of what reads and writes them.

``python -m breastkit.dicom.conformance`` prints the tables that stand in the statement.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from highdicom.sr import CodedConcept
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from breastkit.dicom.derived_objects import Side
from breastkit.dicom.read_series import _IMAGES
from breastkit.dicom.read_us import _ULTRASOUND
from breastkit.dicom.report_codes import ANSWERS, EVALUATIONS, MEASUREMENTS, PRIVATE_SCHEME, UNITS
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_sr import Procedure

READ = {
    "volumes and dynamic studies": _IMAGES,
    "ultrasound": _ULTRASOUND,
    "outlines": (SegmentationStorage,),
}
WRITTEN = {
    "results": (SegmentationStorage, Comprehensive3DSRStorage, EncapsulatedPDFStorage),
    "key pictures, where asked for": (SecondaryCaptureImageStorage,),
    "images of input that is no DICOM": (MRImageStorage, SecondaryCaptureImageStorage),
    "phantoms": (MRImageStorage, UltrasoundImageStorage, UltrasoundMultiFrameImageStorage),
}


def classes_table(classes: Mapping[str, Sequence[str]]) -> str:
    """Returns SOP classes as a table, by what they are for."""
    rows = [
        (purpose, f"{UID(one).name}{' (retired)' if UID(one).is_retired else ''}", f"`{one}`")
        for purpose, members in classes.items()
        for one in members
    ]
    return _table(("for", "SOP class", "UID"), rows)


def codes_table() -> str:
    """Returns all codes that objects are written with as a table, those of our own scheme last."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for use, members in _uses().items():
        for code in members:
            _, uses = found.setdefault((code.scheme_designator, code.value), (code.meaning, []))
            if use not in uses:
                uses.append(use)
    ordered = sorted(found.items(), key=lambda item: (item[0][0] == PRIVATE_SCHEME, item[0]))
    rows = [(scheme, f"`{value}`", meaning, ", ".join(uses)) for (scheme, value), (meaning, uses) in ordered]
    return _table(("scheme", "value", "meaning", "used as"), rows)


def _uses() -> dict[str, Iterable[Code | CodedConcept]]:
    segments = [kind.codes for kind in SegmentKind]
    return {
        "segment category": [one.category for one in segments],
        "segment type, finding": [one.type for one in segments],
        "anatomic region, finding site": [one.region for one in segments if one.region],
        "laterality": [side.code for side in Side],
        "procedure": [procedure.value for procedure in Procedure],
        "measurement": MEASUREMENTS.values(),
        "unit": UNITS.values(),
        "evaluation": EVALUATIONS.values(),
        "answer": ANSWERS.values(),
    }


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("| --- |", "|---|").replace(" --- |", "---|") for line in lines)


if __name__ == "__main__":
    sys.stdout.write("\n\n".join([classes_table(READ), classes_table(WRITTEN), codes_table(), ""]))
