"""Breasts and lesions of a dynamic MRI study outlined by the bundles, on the study's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from breastkit.bundle import Bundle
from breastkit.dce.phases import DcePhases
from breastkit.dce.voxel_box import VoxelBox
from breastkit.detection.boxes_file import Detection
from breastkit.findings.study_findings import StudyLesion
from breastkit.inference.mri_study import boxes_on_squares
from breastkit.opened_bundle import OpenedBundle
from breastkit.pipelines import BREASTS
from breastkit.transforms.crop_to_box import paste_regions, region_around
from breastkit.transforms.letterbox import Letterbox
from breastkit.transforms.letterbox_slices import unletterbox

# A candidate in which the segmenter is nowhere surer than this is none.
_NOTHING = 0.05


def open_breasts(
    bundle: Bundle | None = None, *, weights: str | Path | None = None, probabilities: bool = False
) -> OpenedBundle:
    """Returns the tissue bundle as the chain uses it: it takes the header's word for what is front and what is back.

    The detector does so too, and the rules that find lying headers among files called 4 of 90 honest ones flipped.

    Args:
        bundle: which one, where it is not the default.
        weights: a weights file; those in use by default.
        probabilities: keep them, see `outline_breasts`.
    """
    return (bundle or Bundle(BREASTS)).opened(weights=weights, orientation="off", save_probability=probabilities)


def outline_breasts(phases: DcePhases, bundle: OpenedBundle | None = None) -> NDArray[Any]:
    """Returns the breasts of a study on its own grid, as the tissue bundle outlines them after contrast.

    Args:
        phases: the study.
        bundle: what `open_breasts` gives, where it is in memory already.
    """
    mask, _ = breasts_and_probability(phases, bundle or open_breasts())
    return mask


def breasts_and_probability(phases: DcePhases, bundle: OpenedBundle) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Returns what `outline_breasts` does, and the probability of every voxel where `open_breasts` was to keep it."""
    scan = MetaTensor(torch.from_numpy(phases.restore(phases.arrays[1])[None]), affine=torch.from_numpy(phases.affine))
    scan.meta["filename_or_obj"] = str(phases.paths[1])
    prepared = bundle.preprocessing({"image": scan})
    prepared["pred"] = MetaTensor(bundle.run(prepared))
    finished = bundle.part("postprocessing")(prepared)
    probability = np.asarray(finished["probability"][0]) if "probability" in finished else None
    return np.asarray(finished["pred"][0]) > 0, probability


def outline_lesions(
    candidates: Sequence[Detection], phases: DcePhases, bundle: OpenedBundle, *, probabilities: bool = False
) -> list[StudyLesion]:
    """Returns the outlines of candidates; what a better one holds no other does.

    The squares of all candidates go through the network together, and each is brought back onto its own slices alone.

    Of a candidate count the pieces that reach into its boxes. Where the segmenter is nowhere as sure as its threshold
    asks, the voxels at least half as sure as its surest count, so that a faint lesion is not lost; a candidate in which
    it sees nothing at all is left out.

    Args:
        candidates: of a detector.
        phases: the study.
        bundle: the opened segmenter.
        probabilities: keep what the segmenter said of every voxel that it was asked about.
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
    cut = bundle.part("crop")({"image": squares, "regions": together})
    answers = np.split(bundle.run(cut).sigmoid().numpy(), np.cumsum([len(own) for own in regions])[:-1], axis=-1)
    taken = np.zeros(phases.grid.axial.shape, dtype=bool)
    lesions = []
    for candidate, own, answer in zip(candidates, regions, answers, strict=True):
        slices = slice(min(number for number, *_ in own), max(number for number, *_ in own) + 1)
        probability = _on_slices(answer, own, slices, phases.grid.letterbox(loader.image_size))
        found = _pieces_in(probability, _zone(candidate, phases, slices), threshold) & ~taken[slices]
        if found.any():
            taken[slices] |= found
            box = VoxelBox.around(mask := _whole(found, slices, phases), phases.grid)
            said = _whole(probability, slices, phases) if probabilities else None
            lesions.append(StudyLesion(score=candidate.score, mask=mask, box=box, probability=said))
    return lesions


def _whole(part: NDArray[Any], slices: slice, phases: DcePhases) -> NDArray[Any]:
    """Returns what holds for some slices of the axial view on the study's own grid, zero elsewhere."""
    whole = np.zeros(phases.grid.axial.shape, dtype=part.dtype)
    whole[slices] = part
    return phases.restore(whole)


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
