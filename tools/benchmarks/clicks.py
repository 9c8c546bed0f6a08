"""Simulated annotators who click on what is wrong: how good an outline is after so many clicks, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from breastkit.atomic import make_folder, write_figures, write_text
from breastkit.bundle import Bundle, Role, bundle_for, find_bundles
from breastkit.cases import Item, read_cases
from breastkit.datasets.dce_case import DceCase
from breastkit.datasets.duke import find_mamamia
from breastkit.dce.phases import DcePhases, read_phases
from breastkit.dce.voxel_box import Index, VoxelBox
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask, read_volume, stem
from breastkit.inference.prompted import Box, PromptedSegmenter, Prompts, mask_of, promptable
from breastkit.metrics.intervals import Interval, grouped_interval
from breastkit.metrics.segmentation import bounding_box, dice
from breastkit.opened_bundle import OpenedBundle
from breastkit.pipelines.prompted_lesions import PromptedStudy, StudyPrompts
from breastkit.progress import track
from breastkit.training import next_click
from breastkit.weights import read_model_json

TABLE, SUMMARY = "clicks.csv", "summary.json"
# Prompts in place of a first click.
BOX = "box"


def bench_clicks(
    data: str, *, out: str = "runs/clicks", split: str = "test", clicks: int = 6, bundle: str | None = None
) -> str:
    """Measures Dice against the number of clicks, for all models that follow prompts, on pictures or studies.

    An annotator sees the automatic outline of a picture and clicks into the middle of the thickest part of what is
    wrong: adds where something is missing, removes where there is too much. Where nothing is wrong no click is made.
    In a study every lesion is clicked on by itself, beginning with nothing. Beside it stands what a box around the
    lesion gives in place of all that. What the weights were trained or chosen on says nothing: take what was held out.

    Args:
        data: prepared pictures with masks, or a folder of dynamic MRI studies with masks in MAMA-MIA's layout.
        out: the folder to write clicks.csv (case by case) and summary.json to.
        split: the list of pictures to measure on.
        clicks: how many each picture or lesion gets.
        bundle: the bundle of pictures whose models are measured; all by default.

    Returns:
        What came out, in lines.

    Raises:
        BreastkitError: if no model follows prompts, or nothing shows a lesion.
    """
    if Path(data, "segmentations").is_dir():
        rows, facts = _of_studies(Path(data), clicks)
    else:
        rows, facts = _of_pictures(data, split, clicks, [Bundle(bundle)] if bundle else find_bundles())
    table, folder = pd.DataFrame(rows), make_folder(out)
    write_text(folder / TABLE, table.round(5).to_csv(index=False))
    figures = {str(name): _figures(of_model) for name, of_model in table.groupby("model")}
    write_figures(folder / SUMMARY, {**facts, "models": figures})
    return "\n".join([*_lines(figures), f"Written: {folder / TABLE} and {folder / SUMMARY}"])


def _of_pictures(
    data: str, split: str, clicks: int, bundles: list[Bundle]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    cases = read_cases(data)
    items = [item for item in cases.judged(split) if item.get("label") and item.get("lesion_px", 1)]
    if not items:
        raise BreastkitError(f"No picture of the list '{split}' of {data} shows a lesion; choose another list.")
    models = _models(bundles)
    rows = [
        row
        for name, segmenter in models.items()
        for item in track(items, name, unit="picture")
        for row in _clicked(item, segmenter, clicks, model=name)
    ]
    weights = {name: str(segmenter.bundle.facts["sha256"]) for name, segmenter in models.items()}
    return rows, {"split": split, "case_list_hash": cases.hash, "weights": weights}


def _of_studies(place: Path, clicks: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    bundle = bundle_for(Role.REGION_SEGMENTATION)
    name, segmenter = f"{bundle.name}_clicks", bundle.opened()
    rows = [
        row
        for case in track(find_mamamia(place), name, unit="study")
        for row in _clicked_in_study(case, segmenter, clicks, model=name)
    ]
    if not rows:
        raise BreastkitError(f"No study in {place} shows a lesion; give studies with masks.")
    return rows, {"weights": {name: str(segmenter.facts["sha256"])}}


def _models(bundles: list[Bundle]) -> dict[str, PromptedSegmenter]:
    found = {
        f"{bundle.name}_{architecture}": PromptedSegmenter(bundle, weights)
        for bundle in bundles
        for architecture, weights in bundle.further_weights.items()
        if promptable(read_model_json(weights))
    }
    if not found:
        raise BreastkitError("No bundle ships weights that follow prompts; train some with configs/train_clicks.json.")
    return found


def _clicked(item: Item, segmenter: PromptedSegmenter, most: int, *, model: str) -> Iterator[dict[str, Any]]:
    """Yields what is reached after no click, one, two and so on, and with a box."""
    gray, truth = read_gray(item["image"]), read_mask(item["label"]) > 0
    facts = {"model": model, "site": item.get("site", ""), "case": item["case"], "image": stem(item["image"])}
    probability, times = _timed(segmenter.start, gray)
    prompts = Prompts()
    for number in range(most + 1):
        mask = mask_of(probability, prompts)
        yield {**facts, "clicks": number, "dice": dice(mask, truth), **times}
        if number < most and (click := next_click(mask, truth)) is not None:
            prompts = Prompts((*prompts.clicks, click))
            probability, times = _timed(segmenter.follow, gray, prompts, probability)
    boxed, times = _timed(segmenter.start, gray, Box.around(truth))
    yield {**facts, "clicks": BOX, "dice": dice(mask_of(boxed, Prompts()), truth), **times}


def _timed(function: Callable[..., NDArray[Any]], *given: Any) -> tuple[NDArray[Any], dict[str, float]]:
    """Returns what a function returns, how long that took, and how long processors worked on it."""
    began, worked = time.perf_counter(), time.process_time()
    answer = function(*given)
    return answer, {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - worked}


def _clicked_in_study(case: DceCase, segmenter: OpenedBundle, most: int, *, model: str) -> Iterator[dict[str, Any]]:
    """Yields what is reached of every lesion of a study by itself."""
    phases = read_phases(case.phases[:2])
    study = PromptedStudy(phases, segmenter)
    lesions = cc3d.connected_components(read_volume(case.mask, mask=True).array > 0) if case.mask else np.zeros(1, int)
    for number in range(1, int(lesions.max()) + 1):
        facts = {"model": model, "site": "", "case": case.name, "image": f"{case.name} lesion {number}"}
        truth = lesions == number
        mask, prompts = np.zeros(truth.shape, bool), StudyPrompts()
        times = {"seconds": 0.0, "cpu_seconds": 0.0}
        for count in range(most + 1):
            yield {**facts, "clicks": count, "dice": dice(mask, truth), **times}
            if count < most and (click := _next_point(mask, truth, phases)) is not None:
                point, inside = click
                prompts = StudyPrompts(
                    (*prompts.add, *([point] if inside else [])), (*prompts.remove, *([] if inside else [point]))
                )
                mask, times = _timed(study.outlined, prompts)
        boxed, times = _timed(study.outlined, StudyPrompts(box=VoxelBox.around(truth, phases.grid)))
        yield {**facts, "clicks": BOX, "dice": dice(boxed, truth), **times}


def _next_point(mask: NDArray[Any], truth: NDArray[Any], phases: DcePhases) -> tuple[Index, bool] | None:
    """Returns where the next click goes in three dimensions, as `next_click` does in two, and whether it adds."""
    window = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in bounding_box(mask | truth))
    depths = [
        distance_transform_edt(np.pad(wrong[window], 1), phases.grid.spacing)[1:-1, 1:-1, 1:-1]
        for wrong in (truth & ~mask, mask & ~truth)
    ]
    inside = depths[0].max() >= depths[1].max()
    depth = depths[0 if inside else 1]
    if not depth.any():
        return None
    first, second, third = (
        int(at) + part.start for at, part in zip(np.unravel_index(depth.argmax(), depth.shape), window, strict=True)
    )
    return (first, second, third), bool(inside)


def _figures(rows: pd.DataFrame) -> dict[str, Any]:
    groups = {"all": rows, **{str(site): of_site for site, of_site in rows.groupby("site") if site}}
    return {name: {**_by_clicks(group), "images": int(group["image"].nunique())} for name, group in groups.items()}


def _by_clicks(rows: pd.DataFrame) -> dict[str, Any]:
    by_clicks = {str(count): group for count, group in rows.groupby("clicks", sort=False)}
    return {
        "dice": {count: grouped_interval(group["dice"], group["case"]) for count, group in by_clicks.items()},
        **{
            kind: {count: float(group[kind].median()) for count, group in by_clicks.items()}
            for kind in ("seconds", "cpu_seconds")
        },
    }


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    for model, groups in figures.items():
        yield f"{model}: Dice with 95 % interval, and median seconds"
        for name, of_group in groups.items():
            for count, reached in of_group["dice"].items():
                what = "box" if count == BOX else f"{count} clicks"
                yield f"  {name}, {what}: {Interval(*reached).text()}, {of_group['seconds'][count]:.3f} s"
