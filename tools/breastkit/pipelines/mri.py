"""One breast MRI study through the whole chain: phases, breasts, lesions with their outlines and what is measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pandas as pd
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from tqdm import tqdm

from breastkit.atomic import make_folder, write_json, write_text
from breastkit.bundle import Bundle
from breastkit.dce.correction import correct_phases
from breastkit.dce.features import (
    KINETICS,
    PLACE,
    SHAPE,
    around_breasts,
    kinetic_features,
    place_features,
    shape_features,
)
from breastkit.dce.phases import DcePhases, read_phases
from breastkit.dce.series import StudyPhases, find_phases
from breastkit.dce.voxel_box import VoxelBox
from breastkit.detection.boxes_file import Detection, read_boxes
from breastkit.detection.find_lesions import lesions_in_breast
from breastkit.errors import BreastkitError
from breastkit.images import write_nifti, write_png
from breastkit.inference.axial_view import AxialView
from breastkit.inference.mri_detection import LesionDetector
from breastkit.inference.mri_study import boxes_on_squares
from breastkit.metrics.segmentation import bounding_box
from breastkit.opened_bundle import OpenedBundle
from breastkit.pictures import LESION, PREDICTION, grid
from breastkit.pipelines import BREASTS, LESIONS
from breastkit.transforms.crop_to_box import paste_regions, region_around
from breastkit.transforms.letterbox import Letterbox
from breastkit.transforms.letterbox_slices import unletterbox

# What the server calls the whole chain.
NAME = "breast_mri_lesions"
BOUNDS = ("row_min", "row_max", "col_min", "col_max", "slice_min", "slice_max")
COLUMNS = ("lesion", "score", *BOUNDS, *SHAPE, *PLACE, *KINETICS)
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
    mask: NDArray[Any]


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
        segmenter: weights of the lesion segmenter; those in use by default, here and below.
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
    lesions_bundle = Bundle(LESIONS)
    outliner = lesions_bundle.opened(weights=segmenter)
    detect = None if boxes else LesionDetector(detector, bundle=lesions_bundle.used("detector"))
    phases = correct_phases(read_phases(found.all), register=register, shading=shading)
    breast = outline_breasts(phases)
    given = lesions_in_breast(read_boxes(boxes, phases.grid), breast) if boxes else None
    candidates = detect(phases, breast=breast) if given is None else given
    lesions = outline_lesions(candidates[:most], phases, outliner)
    return _write(Path(out), found, phases, breast, lesions)


def open_breasts(bundle: Bundle | None = None, *, weights: str | Path | None = None) -> OpenedBundle:
    """Returns the tissue bundle as the chain uses it: it takes the header's word for what is front and what is back.

    The detector does so too, and the rules that find lying headers among files called 4 of 90 honest ones flipped.

    Args:
        bundle: which one, where it is not the default.
        weights: a weights file; those in use by default.
    """
    return (bundle or Bundle(BREASTS)).opened(weights=weights, orientation="off")


def outline_breasts(phases: DcePhases, bundle: OpenedBundle | None = None) -> NDArray[Any]:
    """Returns the breasts of a study on its own grid, as the tissue bundle outlines them after contrast.

    Args:
        phases: the study.
        bundle: what `open_breasts` gives, where it is in memory already.
    """
    bundle = bundle or open_breasts()
    scan = MetaTensor(torch.from_numpy(phases.restore(phases.arrays[1])[None]), affine=torch.from_numpy(phases.affine))
    scan.meta["filename_or_obj"] = str(phases.paths[1])
    prepared = bundle.preprocessing({"image": scan})
    prepared["pred"] = MetaTensor(bundle.run(prepared))
    return np.asarray(bundle.part("postprocessing")(prepared)["pred"][0]) > 0


def outline_lesions(candidates: Sequence[Detection], phases: DcePhases, bundle: OpenedBundle) -> list[Lesion]:
    """Returns the outlines of candidates; what a better one holds no other does.

    The squares of all candidates go through the network together, and each is brought back onto its own slices alone.

    Of a candidate count the pieces that reach into its boxes. Where the segmenter is nowhere as sure as its threshold
    asks, the voxels at least half as sure as its surest count, so that a faint lesion is not lost; a candidate in which
    it sees nothing at all is left out.

    Args:
        candidates: of a detector.
        phases: the study.
        bundle: the opened segmenter.
    """
    loader = bundle.part("load")
    threshold, margin = float(bundle.facts["threshold"]), float(bundle.facts.get("margin", 0.5))
    regions = [
        [(number, *region_around(box, loader.image_size, margin=margin)) for number, box in boxes]
        for boxes in (boxes_on_squares([candidate], phases, loader.image_size) for candidate in candidates)
    ]
    together = [region for own in regions for region in own]
    if not together:
        return []
    squares = loader.squares(phases, only={number for number, *_ in together})
    answers = bundle.run(bundle.part("crop")({"image": squares, "regions": together})).sigmoid().numpy()
    answers = np.split(answers, np.cumsum([len(own) for own in regions])[:-1], axis=-1)
    taken = np.zeros(phases.grid.axial.shape, dtype=bool)
    lesions = []
    for candidate, own, answer in zip(candidates, regions, answers, strict=True):
        slices = slice(min(number for number, *_ in own), max(number for number, *_ in own) + 1)
        probability = _on_slices(answer, own, slices, phases.grid.letterbox(loader.image_size))
        found = _pieces_in(probability, _zone(candidate, phases, slices), threshold) & ~taken[slices]
        if found.any():
            taken[slices] |= found
            mask = np.zeros(phases.grid.axial.shape, dtype=bool)
            mask[slices] = found
            lesions.append(Lesion(candidate.score, phases.restore(mask)))
    return lesions


def _on_slices(
    answer: NDArray[Any], regions: Sequence[tuple[int, int, int, int]], slices: slice, box: Letterbox
) -> NDArray[Any]:
    """Returns what the segmenter said of regions, [slice, row, column], on some slices of the axial view."""
    moved = [(number - slices.start, *square) for number, *square in regions]
    squares = paste_regions(answer, moved, (box.size, box.size, slices.stop - slices.start))
    return unletterbox(squares[0].transpose(2, 0, 1), box)


def _pieces_in(probability: NDArray[Any], zone: NDArray[Any], threshold: float) -> NDArray[Any]:
    surest = float(probability[zone].max(initial=0.0))
    if surest < _NOTHING:
        return np.zeros(zone.shape, dtype=bool)
    lowest = threshold if surest >= threshold else surest / 2
    pieces = cc3d.connected_components(probability >= lowest, connectivity=26)
    inside = np.unique(pieces[zone])
    return np.isin(pieces, inside[inside > 0])


def _zone(candidate: Detection, phases: DcePhases, slices: slice) -> NDArray[Any]:
    """Returns where a candidate's boxes lie on some slices of the axial view."""
    zone = np.zeros(phases.grid.axial.shape, dtype=bool)[slices]
    for box in candidate.boxes:
        deep, *across = box.on(phases.grid.axial).window
        zone[deep.start - slices.start : deep.stop - slices.start, *across] = True
    return zone


def _write(
    folder: Path, found: StudyPhases, phases: DcePhases, breast: NDArray[Any], lesions: Sequence[Lesion]
) -> Path:
    make_folder(folder)
    like = phases.paths[0] if phases.paths[0].is_file() else None
    labels = np.zeros(phases.shape, dtype=np.uint8)
    for number, lesion in enumerate(lesions, start=1):
        labels[lesion.mask] = number
    write_nifti(folder / "breast.nii.gz", breast, phases.affine, like=like)
    write_nifti(folder / "lesions.nii.gz", labels, phases.affine, like=like)
    rows = measure_lesions(lesions, phases, breast)
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
    _draw(folder / "overlay.png", phases, breast, labels, [lesion.score for lesion in lesions])
    return folder / "lesions.csv"


def measure_lesions(lesions: Sequence[Lesion], phases: DcePhases, breast: NDArray[Any]) -> list[dict[str, Any]]:
    """Returns the rows of the table of lesions.

    They are measured in the axial view, in which the phases lie in memory, each in the box around it.

    Args:
        lesions: with outlines.
        phases: the study.
        breast: the breasts on its own grid.
    """
    around = around_breasts(phases.axial(breast), phases.arrays[0])
    rows = []
    for number, lesion in enumerate(lesions, start=1):
        mask = phases.axial(lesion.mask)
        box = bounding_box(mask)
        measured = {
            **shape_features(mask[box], spacing=phases.spacing),
            **place_features(mask, around, spacing=phases.spacing),
            **kinetic_features(mask[box], [phase[box] for phase in phases.arrays]),
        }
        bounds = VoxelBox.around(lesion.mask, phases.grid).bounds
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in measured.items()}
        rows.append({"lesion": number, "score": round(lesion.score, 4), **bounds, **rounded})
    return rows


def _draw(path: Path, phases: DcePhases, breast: NDArray[Any], labels: NDArray[Any], scores: Sequence[float]) -> None:
    titles = {str(number): f"lesion {number}, score {score:.2f}" for number, score in enumerate(scores, start=1)}
    titles = titles or {"breast": "no lesion found"}
    masks = {"breast": breast, **{str(n): labels == n for n in range(1, len(scores) + 1)}, "any": labels > 0}
    view = AxialView(phases.restore(phases.arrays[1]), phases.affine, masks)
    tiles = [view.picture(view.largest(name), [("breast", PREDICTION), ("any", LESION)]) for name in titles]
    write_png(path, grid([tiles], tile=400, column_titles=list(titles.values())))


def _tell(found: StudyPhases) -> None:
    for place, reason in found.skipped:
        tqdm.write(f"Left aside: {place.name}: {reason}.", file=sys.stderr)
    for doubt in found.doubts:
        tqdm.write(f"Doubtful: {doubt}", file=sys.stderr)
