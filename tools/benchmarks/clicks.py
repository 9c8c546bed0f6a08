"""Simulated annotators who click on what is wrong: how good an outline is after so many clicks, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from breastkit.atomic import make_folder, write_figures, write_text
from breastkit.bundle import Bundle, find_bundles
from breastkit.cases import Item, read_cases
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask, stem
from breastkit.inference.prompted import Box, PromptedSegmenter, Prompts, mask_of, promptable
from breastkit.metrics.intervals import Interval, grouped_interval
from breastkit.metrics.segmentation import dice
from breastkit.progress import track
from breastkit.training import next_click
from breastkit.weights import read_model_json

TABLE, SUMMARY = "clicks.csv", "summary.json"
# Prompts in place of a first click.
BOX = "box"


def bench_clicks(
    data: str, *, out: str = "runs/clicks", split: str = "test", clicks: int = 6, bundle: str | None = None
) -> str:
    """Measures Dice against the number of clicks, for all models that follow prompts, on pictures with a lesion.

    An annotator sees the automatic outline and clicks into the middle of the thickest part of what is wrong: adds where
    something is missing, removes where there is too much. Where nothing is wrong no click is made. Beside it stands what
    a box around the lesion gives in place of all that. Pictures that the weights were trained or chosen on say nothing:
    take a list that was held out.

    Args:
        data: prepared pictures with masks.
        out: the folder to write clicks.csv (image by image) and summary.json to.
        split: the list to measure on.
        clicks: how many each picture gets.
        bundle: the bundle whose models are measured; those of all bundles of ultrasound pictures by default.

    Returns:
        What came out, in lines.

    Raises:
        BreastkitError: if no model follows prompts, or no picture shows a lesion.
    """
    cases = read_cases(data)
    items = [item for item in cases.judged(split) if item.get("label") and item.get("lesion_px", 1)]
    if not items:
        raise BreastkitError(f"No picture of the list '{split}' of {data} shows a lesion; choose another list.")
    rows: list[dict[str, Any]] = []
    models = _models([Bundle(bundle)] if bundle else find_bundles())
    for name, segmenter in models.items():
        for item in track(items, name, unit="picture"):
            rows += _clicked(item, segmenter, clicks, model=name)
    table = pd.DataFrame(rows)
    folder = make_folder(out)
    write_text(folder / TABLE, table.round(5).to_csv(index=False))
    facts = {"split": split, "case_list_hash": cases.hash, "images": len(items)}
    weights = {name: str(segmenter.bundle.facts["sha256"]) for name, segmenter in models.items()}
    figures = {name: _figures(rows) for name, rows in table.groupby("model")}
    write_figures(folder / SUMMARY, {**facts, "weights": weights, "models": figures})
    return "\n".join([*_lines(figures), f"Written: {folder / TABLE} and {folder / SUMMARY}"])


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
    began = time.perf_counter()
    probability = segmenter.start(gray)
    seconds = time.perf_counter() - began
    prompts = Prompts()
    for number in range(most + 1):
        mask = mask_of(probability, prompts)
        yield {**facts, "clicks": number, "dice": dice(mask, truth), "seconds": seconds}
        if number < most and (click := next_click(mask, truth)) is not None:
            prompts = Prompts((*prompts.clicks, click))
            began = time.perf_counter()
            probability = segmenter.follow(gray, prompts, probability)
            seconds = time.perf_counter() - began
    began = time.perf_counter()
    boxed = segmenter.start(gray, Box.around(truth))
    seconds = time.perf_counter() - began
    yield {**facts, "clicks": BOX, "dice": dice(mask_of(boxed, Prompts()), truth), "seconds": seconds}


def _figures(rows: pd.DataFrame) -> dict[str, Any]:
    groups = {"all": rows, **{str(site): of_site for site, of_site in rows.groupby("site") if site}}
    return {name: {**_by_clicks(group), "images": int(group["image"].nunique())} for name, group in groups.items()}


def _by_clicks(rows: pd.DataFrame) -> dict[str, Any]:
    by_clicks = {str(count): group for count, group in rows.groupby("clicks", sort=False)}
    return {
        "dice": {count: grouped_interval(group["dice"], group["case"]) for count, group in by_clicks.items()},
        "seconds": {count: float(group["seconds"].median()) for count, group in by_clicks.items()},
    }


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    for model, groups in figures.items():
        yield f"{model}: Dice with 95 % interval, and median seconds"
        for name, of_group in groups.items():
            for count, reached in of_group["dice"].items():
                what = "box" if count == BOX else f"{count} clicks"
                yield f"  {name}, {what}: {Interval(*reached).text()}, {of_group['seconds'][count]:.3f} s"
