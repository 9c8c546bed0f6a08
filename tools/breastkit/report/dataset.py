"""`breastkit data report`: one page on a case list, for someone who decides whether to work with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.cases import LISTS, CaseList, Item, find_problems, read_cases
from breastkit.datasets.duplicates import RESEMBLANCE, THRESHOLD, duplicate_groups, near_duplicate_pairs, thumbnail
from breastkit.errors import BreastkitError
from breastkit.images import is_volume, read_gray, read_mask, read_volume, stem
from breastkit.pictures import TRUTH, outline
from breastkit.progress import parallel_map
from breastkit.report.page import SERIES, figure, number, percent, picture, plural, render_page
from breastkit.seeding import generator

REPORT_NAME = "report.html"
_PICTURE_HEIGHT = 256
_SAMPLES = 8
_EXTREMES = 6
# Above this share a label is more likely inverted than drawn.
_COVERS_TOO_MUCH = 0.6


@dataclass
class _Seen:
    """One item, looked at."""

    item: Item
    list_name: str
    name: str
    group: str = ""
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    brightness: float = 0.0
    has_label: bool = False
    label_size: float = 0.0
    picture: str = ""
    thumbnail: NDArray[Any] | None = None
    problem: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The list, and the fold where there is one."""
        fold = self.item.get("fold")
        return self.list_name if fold is None else f"{self.list_name}, fold {fold}"

    @property
    def size_text(self) -> str:
        """The size of the label as people read it."""
        if not self.has_label:
            return "no label"
        if not self.label_size:
            return "empty label"
        return f"{number(self.label_size, 1)} ml" if self.spacing else percent(self.label_size, 1)

    @property
    def caption(self) -> str:
        """What stands below its picture."""
        return " · ".join(part for part in (self.group, self.place, self.size_text) if part)


def dataset_report(folder: str | Path, *, seed: int = 0, workers: int | None = None) -> Path:
    """Writes report.html into a prepared folder: counts, sizes, near-duplicates, samples and every problem found.

    Args:
        folder: the prepared folder, or its dataset.json.
        seed: another seed shows other samples.
        workers: processes to work with; all available cores by default.

    Returns:
        The page.

    Raises:
        BreastkitError: if there is no case list or it is empty.
    """
    cases = read_cases(folder, check=False)
    seen = _look_at_all(cases, workers)
    if not seen:
        raise BreastkitError(f"{cases.path} holds no cases; prepare the set again.")
    volumes = any(each.spacing for each in seen)
    readable = [each for each in seen if not each.problem]
    duplicates = _duplicates(readable)
    return render_page(
        "dataset.html",
        cases.path.parent / REPORT_NAME,
        name=str(cases.facts.get("name") or cases.path.parent.name),
        split_sentence=_split_sentence(cases),
        volumes=volumes,
        total=len(seen),
        case_count=_cases_in(seen),
        case_word="cases",
        problems=_problems(cases, seen),
        counts=_counts(seen),
        charts=_charts(readable, volumes=volumes),
        spread=_spread(readable, volumes=volumes),
        extremes=_extremes(readable),
        duplicates=duplicates,
        left_out=_left_out(cases),
        samples=_samples(readable, seed),
    )


def _look_at_all(cases: CaseList, workers: int | None) -> list[_Seen]:
    jobs = [(name, item) for name, item in cases.items()]
    seen = parallel_map(
        partial(_look, root=cases.path.parent), jobs, "Looking at images", workers=workers, unit="image"
    )
    names = Counter(each.name for each in seen)
    for each in seen:
        if names[each.name] > 1:
            # Scans are often all called the same in a folder each.
            each.name = f"{Path(each.details['image']).parent.name}/{each.name}"
    return seen


def _look(job: tuple[str, Item], *, root: Path) -> _Seen:
    list_name, item = job
    image = item["image"] if isinstance(item["image"], str) else item["image"][0]
    label = next((item[key] for key in ("mask", "label") if isinstance(item.get(key), str)), None)
    seen = _Seen(item, list_name, stem(image), group=_class_of(item), details={"image": image})
    try:
        if is_volume(image):
            _look_at_volume(seen, image, label)
        else:
            _look_at_picture(seen, image, label)
    except BreastkitError as error:
        seen.problem = str(error).replace(f"{root}/", "")
    return seen


def _class_of(item: Item) -> str:
    for key in ("class", "label"):
        if key in item and (key == "class" or not isinstance(item[key], str | list | dict)):
            return str(item[key])
    return ""


def _look_at_picture(seen: _Seen, image: str, label: str | None) -> None:
    gray = read_gray(image)
    mask = read_mask(label) if label else None
    seen.shape, seen.brightness, seen.thumbnail = gray.shape, float(gray.mean()), thumbnail(gray)
    shown = _shrunk(gray)
    if mask is not None and mask.shape == gray.shape:
        seen.has_label, seen.label_size = True, float(mask.mean())
        shown = outline(shown, _shrunk(mask * 255) > 127, TRUTH, width=2)
    seen.picture = picture(shown)


def _shrunk(array: NDArray[Any]) -> NDArray[Any]:
    """Fits a picture to its height on the page before anything is drawn on it, so that lines stay as thin as drawn."""
    rows, columns = array.shape
    size = (max(round(columns * _PICTURE_HEIGHT / rows), 1), _PICTURE_HEIGHT)
    return array if rows <= _PICTURE_HEIGHT else cv2.resize(array, size, interpolation=cv2.INTER_AREA)


def _look_at_volume(seen: _Seen, image: str, label: str | None) -> None:
    from breastkit.inference.axial_view import AxialView

    scan = read_volume(image)
    mask = read_volume(label) if label else None
    seen.shape, seen.spacing = scan.array.shape, tuple(float(size) for size in scan.spacing)
    seen.brightness = float(scan.array[::4, ::4, ::2].mean())
    if mask is None or mask.array.shape != scan.array.shape:
        view = AxialView(scan.array, scan.affine)
        seen.picture = picture(view.picture(view.depth // 2), height=_PICTURE_HEIGHT)
        return
    inside = mask.array > 0
    seen.has_label, seen.label_size = True, float(np.count_nonzero(inside) * np.prod(scan.spacing) / 1000)
    seen.details["share"] = float(inside.mean())
    view = AxialView(scan.array, scan.affine, {"label": inside})
    # The middle slice of the label shows most of what it is.
    seen.picture = picture(view.picture(view.spread("label", 1)[0], [("label", TRUTH)]), height=_PICTURE_HEIGHT)


def _problems(cases: CaseList, seen: Sequence[_Seen]) -> list[str]:
    """Every problem once: those noted at preparation, those of the files and the split, and labels that look wrong."""
    noted = [str(problem) for problem in cases.facts.get("problems", [])]
    found = [problem.replace(f"{cases.path.parent}/", "") for problem in find_problems(cases)]
    read = [each.problem for each in seen if each.problem]
    doubtful = []
    for each in seen:
        share = each.details.get("share", each.label_size)
        if each.has_label and not each.label_size and each.group not in ("", "normal"):
            doubtful.append(f"'{each.name}' is of class {each.group} but its label is empty; look at it.")
        elif each.has_label and share > _COVERS_TOO_MUCH:
            doubtful.append(f"The label of '{each.name}' covers {percent(share)} of it; it may be inverted.")
    return list(dict.fromkeys(noted + found + read + doubtful))


def _split_sentence(cases: CaseList) -> str:
    split = cases.facts.get("split")
    if not isinstance(split, dict):
        return f"{plural(sum(1 for _ in cases.items()), 'item')} in {cases.path.name}."
    shares = split.get("fractions", [])
    if shares == [1.0, 0.0, 0.0]:
        how = f"All cases in {split.get('folds')} folds"
    elif shares == [0.0, 0.0, 1.0]:
        how = "All cases in the test list"
    else:
        how = "Split " + "/".join(f"{100 * share:.0f}" for share in shares)
    by = " image by image, near-duplicates apart" if split.get("by") == "image" else " by case"
    return f"{how}{by}, seed {split.get('seed')}."


def _cases_in(seen: Sequence[_Seen]) -> int:
    return len({str(each.item.get("case", each.name)) for each in seen})


def _counts(seen: Sequence[_Seen]) -> dict[str, Any]:
    classes = sorted({each.group for each in seen if each.group})

    def row(name: str, members: Sequence[_Seen]) -> dict[str, Any]:
        by_class = Counter(each.group for each in members)
        return {
            "name": name,
            "by_class": [by_class[label] for label in classes],
            "total": len(members),
            "cases": _cases_in(members),
            "empty": sum(not each.label_size for each in members),
        }

    lists = {name: [each for each in seen if each.list_name == name] for name in (*LISTS, "inference")}
    folds: dict[int, list[_Seen]] = defaultdict(list)
    for each in lists["training"]:
        if "fold" in each.item:
            folds[each.item["fold"]].append(each)
    everything = row("all", seen)
    return {
        "classes": classes,
        "lists": [row(name, members) for name, members in lists.items() if members],
        "all_by_class": everything["by_class"],
        "empty": everything["empty"],
        "folds": [row(str(fold), folds[fold]) for fold in sorted(folds)],
    }


def _by_class(seen: Sequence[_Seen]) -> dict[str, list[_Seen]]:
    groups: dict[str, list[_Seen]] = defaultdict(list)
    for each in sorted(seen, key=lambda each: each.group):
        groups[each.group].append(each)
    return groups


def _charts(seen: Sequence[_Seen], *, volumes: bool) -> list[dict[str, str]]:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    charts = []
    if len({each.shape for each in seen}) > 1:
        drawing, axes = figure(5.6, 3.4)
        for colour, (label, members) in zip(SERIES, _by_class(seen).items(), strict=False):
            height, width = np.array([each.shape[:2] for each in members]).T
            axes.scatter(width, height, s=14, alpha=0.5, color=colour, label=label, linewidths=0)
        axes.set_xlabel("columns, pixels")
        axes.set_ylabel("rows, pixels")
        _add_legend(axes)
        charts.append({"picture": picture(drawing), "caption": "Size of the images"})
    labelled = [each for each in seen if each.label_size > 0]
    if labelled:
        drawing, axes = figure(5.6, 3.4)
        scale = 1 if volumes else 100
        values = {
            label: [scale * each.label_size for each in members] for label, members in _by_class(labelled).items()
        }
        low, high = (edge([min(own) if edge is min else max(own) for own in values.values()]) for edge in (min, max))
        bins = np.geomspace(low * 0.9, high * 1.1, 28)
        axes.hist(list(values.values()), bins=bins, stacked=True, color=SERIES[: len(values)], label=list(values))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("volume of the label, ml" if volumes else "area of the label, per cent of the image")
        axes.set_ylabel("scans" if volumes else "images")
        _add_legend(axes)
        charts.append({"picture": picture(drawing), "caption": "Size of the labels, empty ones left out"})
    return charts


def _add_legend(axes: Any) -> None:
    if any(text for text in axes.get_legend_handles_labels()[1]):
        axes.legend(frameon=False, fontsize=9)


def _spread(seen: Sequence[_Seen], *, volumes: bool) -> list[dict[str, Any]]:
    if not seen:
        return []
    columns: dict[str, tuple[list[float], Any]] = {
        "columns, pixels": ([each.shape[0 if volumes else 1] for each in seen], number),
        "rows, pixels": ([each.shape[1 if volumes else 0] for each in seen], number),
    }
    if volumes:
        columns["slices"] = ([each.shape[2] for each in seen if len(each.shape) > 2], number)
        for axis, what in enumerate(("column", "row", "slice")):
            sizes = [each.spacing[axis] for each in seen if each.spacing]
            columns[f"{what} spacing, mm"] = (sizes, partial(number, digits=2))
    sizes = [each.label_size for each in seen if each.label_size > 0]
    if sizes and volumes:
        columns["volume of the label, ml"] = (sizes, partial(number, digits=1))
    elif sizes:
        columns["area of the label"] = (sizes, partial(percent, digits=1))
    columns["mean brightness"] = ([each.brightness for each in seen], number)
    return [
        {"name": name, "cells": [write(float(value)) for value in np.percentile(values, (0, 5, 50, 95, 100))]}
        for name, (values, write) in columns.items()
    ]


def _extremes(seen: Sequence[_Seen]) -> list[_Seen]:
    ordered = sorted((each for each in seen if each.label_size > 0), key=lambda each: each.label_size)
    return ordered if len(ordered) <= 2 * _EXTREMES else ordered[:_EXTREMES] + ordered[-_EXTREMES:]


def _duplicates(seen: Sequence[_Seen]) -> dict[str, Any]:
    pictured = [(each, each.thumbnail) for each in seen if each.thumbnail is not None]
    flat = [each for each, _ in pictured]
    resembling = near_duplicate_pairs([small for _, small in pictured], RESEMBLANCE)
    pairs = [pair for pair in resembling if pair[2] >= THRESHOLD]
    apart = [
        {"members": [flat[i], flat[j]], "least": r}
        for i, j, r in resembling
        if r < THRESHOLD and flat[i].place != flat[j].place
    ]
    members: dict[int, list[_Seen]] = defaultdict(list)
    for each, group in zip(flat, duplicate_groups(pairs, len(flat)), strict=True):
        members[group].append(each)
    of_image = {id(each): group for group, own in members.items() for each in own}
    least: dict[int, float] = {}
    for i, _, r in pairs:
        group = of_image[id(flat[i])]
        least[group] = min(r, least.get(group, 1.0))
    groups: list[dict[str, Any]] = [
        {
            "members": own,
            "least": least[group],
            "contradicts": len({each.group for each in own}) > 1,
            "split": len({each.place for each in own}) > 1,
        }
        for group, own in members.items()
        if len(own) > 1
    ]
    groups.sort(key=lambda group: (not group["contradicts"], not group["split"], -len(group["members"])))
    return {
        "searched": bool(flat),
        "threshold": THRESHOLD,
        "pairs": len(pairs),
        "images": sum(len(group["members"]) for group in groups),
        "split": sum(group["split"] for group in groups),
        "groups": groups,
        "resemblance": RESEMBLANCE,
        "apart": sorted(apart, key=lambda pair: -pair["least"]),
    }


def _left_out(cases: CaseList) -> list[dict[str, str]]:
    entries = []
    for entry in cases.facts.get("left_out", []):
        path = cases.path.parent / str(entry.get("image", ""))
        shown = ""
        if path.is_file() and not is_volume(path):
            shown = picture(read_gray(path), height=_PICTURE_HEIGHT)
        entries.append({"name": stem(path), "reason": str(entry.get("reason", "")), "picture": shown})
    return entries


def _samples(seen: Sequence[_Seen], seed: int) -> list[dict[str, Any]]:
    samples = []
    for label, members in _by_class(seen).items():
        rng = generator(seed, "report", label)
        count = min(_SAMPLES if len(_by_class(seen)) > 1 else 2 * _SAMPLES, len(members))
        chosen = sorted(rng.choice(len(members), count, replace=False))
        samples.append({"name": label, "members": [members[position] for position in chosen]})
    return samples
