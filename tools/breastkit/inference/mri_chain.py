"""One breast MRI study through the whole chain: phases, breasts, lesions with their outlines and what is measured."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pandas as pd
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from tqdm import tqdm

from breastkit.atomic import make_folder, write_json, write_text
from breastkit.datasets.dce_correction import correct_phases
from breastkit.datasets.dce_phases import DcePhases, read_phases
from breastkit.datasets.dce_series import StudyPhases, find_phases
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti, write_png
from breastkit.inference.axial_view import AxialView
from breastkit.inference.mri_detection import LesionDetector
from breastkit.inference.mri_features import KINETICS, PLACE, SHAPE, kinetic_features, place_features, shape_features
from breastkit.inference.mri_study import boxes_on_squares, read_lesions
from breastkit.inference.opened_bundle import OpenedBundle
from breastkit.metrics.segmentation import bounding_box
from breastkit.pictures import LESION, PREDICTION, grid
from breastkit.progress import track
from breastkit.transforms.crop_to_box import region_around

BREASTS, SEGMENTER = "breast_mri_tissue_segmentation", "breast_mri_lesion_segmentation"
BOUNDS = ("row_min", "row_max", "col_min", "col_max", "slice_min", "slice_max")
COLUMNS = ("lesion", "score", *BOUNDS, *SHAPE, *PLACE, *KINETICS)
_AXES = ("col", "row", "slice")
# A candidate in which the segmenter is nowhere surer than this is none.
_NOTHING = 0.05


@dataclass(frozen=True)
class Lesion:
    """A candidate with its outline.

    Attributes:
        score: of the detector.
        mask: on the study's own grid.
    """

    score: float
    mask: np.ndarray


def run_mri(
    study: str,
    *,
    out: str,
    pre: str | None = None,
    post: str | None = None,
    boxes: str | None = None,
    most: int = 4,
    segmenter: str | None = None,
    detector: str | None = None,
    register: bool = False,
    shading: bool = False,
) -> Path:
    """Outlines breasts and lesions in one dynamic breast MRI study and measures the lesions.

    Writes breast.nii.gz, lesions.nii.gz (0 background, 1 the lesion with the highest score, 2 the next and so on),
    lesions.csv, overlay.png and study.json, which says what was read, what was left aside and what is doubtful.

    Args:
        study: folder of one study: DICOM series, or NIfTI phases x_0000.nii.gz, x_0001.nii.gz and so on.
        out: the folder to write.
        pre: the phase before contrast, by number, description or folder of its series or by file name.
        post: the first phase after contrast, likewise.
        boxes: what the lesion detector wrote (x_boxes.json) instead of running it.
        most: so many candidates at most are outlined.
        segmenter: weights of the lesion segmenter; those of the bundle by default, here and below.
        detector: weights of the lesion detector.
        register: move phases after contrast onto the one before it, where the patient moved.
        shading: take out the shading of the coils (N4).

    Returns:
        The table of lesions.

    Raises:
        BreastkitError: if the study cannot be used or weights are missing.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise BreastkitError(f"{most} candidates cannot be outlined; give --most a whole number from 1 up.")
    found = find_phases(study, pre=pre, post=post)
    _tell(found)
    # Missing weights stop the run before minutes of reading.
    outliner = OpenedBundle(SEGMENTER, weights=segmenter)
    detect = None if boxes else LesionDetector(detector)
    phases = correct_phases(read_phases(found.all), register=register, shading=shading)
    breast = outline_breasts(phases)
    candidates = detect(phases) if detect else read_lesions(boxes, phases.shape)
    lesions = outline_lesions(candidates_in_breast(candidates, breast)[:most], phases, outliner)
    return _write(Path(out), found, phases, breast, lesions)


def outline_breasts(phases: DcePhases, bundle: OpenedBundle | None = None) -> np.ndarray:
    """Returns the breasts of a study on its own grid, as the tissue bundle outlines them after contrast.

    Args:
        phases: the study.
        bundle: the opened tissue bundle, where it is in memory already.
    """
    bundle = bundle or OpenedBundle(BREASTS)
    scan = MetaTensor(torch.from_numpy(phases.restore(phases.arrays[1])[None]), affine=torch.from_numpy(phases.affine))
    scan.meta["filename_or_obj"] = str(phases.paths[1])
    # The first step reads a file; the study is in memory already.
    prepared = Compose(bundle.preprocessing.transforms[1:])({"image": scan})
    prepared["pred"] = MetaTensor(bundle.run(prepared))
    return np.asarray(bundle.part("postprocessing")(prepared)["pred"][0]) > 0


def outline_lesions(candidates: Sequence[Mapping[str, Any]], phases: DcePhases, bundle: OpenedBundle) -> list[Lesion]:
    """Returns the outlines of candidates, one after another; what a better one holds no other does.

    Of a candidate count the pieces that reach into its boxes. Where the segmenter is nowhere as sure as its threshold
    asks, the voxels at least half as sure as its surest count, so that a faint lesion is not lost; a candidate in which
    it sees nothing at all is left out.

    Args:
        candidates: as a detector's file lists them.
        phases: the study.
        bundle: the opened segmenter.
    """
    loader, _, cropper = bundle.preprocessing.transforms
    squares, threshold = loader.squares(phases), float(bundle.facts["threshold"])
    taken = np.zeros(phases.shape, dtype=bool)
    lesions = []
    for candidate in track(candidates, "Outlining lesions", unit="lesion"):
        boxes = boxes_on_squares([candidate], phases, loader.image_size)
        margin = float(bundle.facts.get("margin", 0.5))
        regions = [(number, *region_around(box, loader.image_size, margin=margin)) for number, box in boxes]
        prepared = cropper({"image": squares, "regions": regions})
        answer = MetaTensor(bundle.run(prepared).sigmoid())
        answer.applied_operations = list(prepared["image"].applied_operations)
        probability = np.asarray(loader.inverse(cropper.inverse({"image": answer}))["image"][0])
        mask = _pieces_in(probability, _zone(candidate, phases.shape), threshold) & ~taken
        if mask.any():
            lesions.append(Lesion(float(candidate["score"]), mask))
            taken |= mask
    return lesions


def _pieces_in(probability: np.ndarray, zone: np.ndarray, threshold: float) -> np.ndarray:
    surest = float(probability[zone].max(initial=0.0))
    if surest < _NOTHING:
        return np.zeros(zone.shape, dtype=bool)
    lowest = threshold if surest >= threshold else surest / 2
    pieces = cc3d.connected_components(probability >= lowest, connectivity=26)
    inside = np.unique(pieces[zone])
    return np.isin(pieces, inside[inside > 0])


def _zone(candidate: Mapping[str, Any], shape: Sequence[int]) -> np.ndarray:
    """Returns where a candidate's boxes lie on the study's own grid."""
    zone = np.zeros(shape, dtype=bool)
    for box in candidate.get("boxes") or [candidate]:
        bounds = dict(box)
        if "slice_min" not in bounds:
            bounds["slice_min"] = bounds["slice_max"] = bounds["slice"]
        zone[tuple(slice(int(bounds[f"{axis}_min"]), int(bounds[f"{axis}_max"]) + 1) for axis in _AXES)] = True
    return zone


def candidates_in_breast(candidates: Sequence[Mapping[str, Any]], breast: np.ndarray) -> list[Mapping[str, Any]]:
    """Leaves out candidates that do not touch a breast, where there is one."""
    if not breast.any():
        return list(candidates)
    return [candidate for candidate in candidates if breast[_zone(candidate, breast.shape)].any()]


def _write(folder: Path, found: StudyPhases, phases: DcePhases, breast: np.ndarray, lesions: Sequence[Lesion]) -> Path:
    make_folder(folder)
    like = phases.paths[0] if phases.paths[0].is_file() else None
    labels = np.zeros(phases.shape, dtype=np.uint8)
    for number, lesion in enumerate(lesions, start=1):
        labels[lesion.mask] = number
    write_nifti(folder / "breast.nii.gz", breast, phases.affine, like=like)
    write_nifti(folder / "lesions.nii.gz", labels, phases.affine, like=like)
    rows = [_row(number, lesion, phases, breast) for number, lesion in enumerate(lesions, start=1)]
    write_text(folder / "lesions.csv", pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False))
    facts = {
        "study": found.name,
        "phases": [str(phase) for phase in found.all],
        "skipped": [[path.name, reason] for path, reason in found.skipped],
        "doubts": list(found.doubts) + ([] if breast.any() else ["No breast was outlined; check the study."]),
        "breast_ml": round(float(np.count_nonzero(breast) * np.prod(phases.spacing) / 1000), 1),
        "lesions": len(lesions),
    }
    write_json(folder / "study.json", facts)
    _draw(folder / "overlay.png", phases, breast, labels)
    return folder / "lesions.csv"


def _row(number: int, lesion: Lesion, phases: DcePhases, breast: np.ndarray) -> dict[str, Any]:
    columns, rows, slices = bounding_box(lesion.mask)
    bounds = (rows.start, rows.stop - 1, columns.start, columns.stop - 1, slices.start, slices.stop - 1)
    spacing = np.linalg.norm(phases.affine[:3, :3], axis=0)
    own = [phases.restore(phase) for phase in phases.arrays]
    measured = {
        **shape_features(lesion.mask, spacing=spacing),
        **place_features(lesion.mask, breast, own[0], spacing=spacing),
        **kinetic_features(lesion.mask, own),
    }
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in measured.items()}
    return {"lesion": number, "score": round(lesion.score, 4), **dict(zip(BOUNDS, bounds, strict=True)), **rounded}


def _draw(path: Path, phases: DcePhases, breast: np.ndarray, labels: np.ndarray) -> None:
    masks = {"breast": breast, **{str(n): labels == n for n in range(1, int(labels.max()) + 1)}, "any": labels > 0}
    view = AxialView(phases.restore(phases.arrays[1]), phases.affine, masks)
    numbers = [name for name in masks if name not in ("breast", "any")] or ["breast"]
    tiles = [view.picture(view.largest(name), [("breast", PREDICTION), ("any", LESION)]) for name in numbers]
    write_png(path, grid([tiles], tile=400, column_titles=[f"lesion {name}" for name in numbers if name.isdigit()]))


def _tell(found: StudyPhases) -> None:
    for place, reason in found.skipped:
        tqdm.write(f"Left aside: {place.name}: {reason}.", file=sys.stderr)
    for doubt in found.doubts:
        tqdm.write(f"Doubtful: {doubt}", file=sys.stderr)
