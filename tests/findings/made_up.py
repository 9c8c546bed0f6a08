"""Findings made up for the tests of writers: known to the last voxel, and no network is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from breastkit.dce import DcePhases, Grid, VoxelBox
from breastkit.findings.study_findings import Lesion, Measurement, Model, MriFindings, PictureFindings, StudyLesion
from breastkit.inference.ultrasound import Reading
from breastkit.inference.ultrasound_inputs import UltrasoundPicture

# Sagittal: columns run to the back, rows to the feet, slices from right to left.
GRID = Grid((10, 12, 8), np.array([[0, 0, -3.0, 30], [-2, 0, 0, 40], [0, -2, 0, 50], [0, 0, 0, 1]]))
CLASSIFIERS, LIMITS = ("classifier", "normal_classifier"), {"suspicious_from": 0.5, "abstain_above": 0.9}
BOXES = (((2, 3, 1), (5, 7, 2)), ((6, 1, 4), (7, 2, 6)))


def mri_findings(*, lesions: int = 2) -> MriFindings:
    """Returns findings of a sagittal study: a breast of 300 voxels of 12 mm³, and lesions that fill their boxes."""
    found = []
    for number, (low, high) in enumerate(BOXES[:lesions]):
        box, mask = VoxelBox(low, high, GRID), np.zeros(GRID.shape, bool)
        mask[box.window] = True
        measurements = (
            Measurement("volume_mm3", 12.0 * int(mask.sum()), "mm3"),
            Measurement("sphericity", 0.123456),
            Measurement("distance_to_skin_mm", None, "mm"),
            Measurement("kinetic_class", "washout"),
        )
        found.append(StudyLesion(score=0.9 - 0.23456 * number, mask=mask, box=box, measurements=measurements))
    breast = np.zeros(GRID.shape, bool)
    breast[:5, :10, 1:7] = True
    array = np.random.default_rng(0).normal(100, 5, GRID.axial.shape).astype(np.float32)
    paths = (Path("pre"), Path("post"))
    return MriFindings(
        name="study",
        sources=paths,
        skipped=((Path("somewhere/scout"), "a scout"),),
        lesions=tuple(found),
        doubts=("It is made up.",),
        models=(Model("segmenter", "a_network", 64 * "a", {"threshold": 0.5}),),
        phases=DcePhases([array, array + 10], GRID, paths),
        breast=breast,
    )


def picture_findings(*, found: bool = True) -> PictureFindings:
    """Returns findings of a frame of a clip, whose tissue begins at row 4 and column 6."""
    gray = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
    picture = UltrasoundPicture(gray, (slice(4, 24), slice(6, 36)))
    mask = np.zeros(picture.tissue.shape, bool)
    mask[2:5, 3:8] = found
    box = dict(zip(("x_min", "y_min", "x_max", "y_max"), (3, 2, 7, 4) if found else 4 * [None], strict=True))
    reading = Reading(
        mask=mask,
        probability=mask.astype(np.float32),
        measures={"area_px": 15 * found, **box, "confidence": 0.9 * found},
        probabilities={"normal": 0.25, "benign": 0.15, "malignant": 0.6},
        label="malignant",
        suspicious_from=0.5,
        uncertainty=0.123456,
        abstain=False,
        decided_by="a_variant",
    )
    lesion = Lesion(score=0.9, mask=picture.on_whole(mask), measurements=(Measurement("area_px", 15, "{pixels}"),))
    return PictureFindings(
        name="clip_frame2",
        file="clip.dcm#frame2",
        sources=(Path("clip.dcm"),),
        frame=1,
        picture=picture,
        reading=reading,
        quality=("too_small", "lesion_cut"),
        lesions=(lesion,) if found else (),
        doubts=() if found else ("No lesion.",),
        models=(
            Model("segmenter", "a_network", 64 * "a"),
            *(Model(r, "a_variant", 64 * "b", LIMITS) for r in CLASSIFIERS),
        ),
    )
