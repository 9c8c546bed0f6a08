"""Masks for a classifier by segmenters that have not seen the picture, no better than they would be later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import atomic_folder
from breastkit.bundle import Bundle, Role, bundle_for
from breastkit.cases import LISTS, CaseList, Item, case_list_path, read_cases, write_cases
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask, stem, write_png
from breastkit.inference.ultrasound import Segmenter
from breastkit.logs import get_logger
from breastkit.metrics import dice
from breastkit.progress import track
from breastkit.weights import read_model_json

# Thresholds and clean-ups stored with fold weights were chosen on the very pictures they are to outline here.
_RULE = {"threshold": 0.5, "clean_up": {"largest_only": False, "minimum_share": 0.0}}
_UPPER_BOUND = "truth (an upper bound: no picture has it when it is diagnosed)"


logger = get_logger(__name__)


@dataclass(frozen=True)
class Member:
    """A fold model.

    Attributes:
        path: its weights.
        name: of its run, with the beginning of its hash.
        unseen: names of the pictures it was not trained on.
        case_list: hash of the case list it was trained on.
    """

    path: Path
    name: str
    unseen: frozenset[str]
    case_list: str


def crossfit(
    source: str, *, out: str, weights: Sequence[str] = (), truth: bool = False, bundle: str | None = None
) -> Path:
    """Adds to every picture of a case list the mask of a segmenter that has not seen it.

    A picture is outlined by the fold models that name it among those they have not seen; one of another set, or of the
    test list, by the mean of all of them. Every item gets predicted_mask, predicted_by and, where it has a true
    mask, predicted_dice.

    Args:
        source: a prepared folder of ultrasound pictures.
        out: the folder to write dataset.json and masks to; the pictures stay where they are.
        weights: fold weights of the segmenter; those that ship with it by default.
        truth: take the true masks instead, marked as such; what a classifier reaches with them is an upper bound.
        bundle: the segmentation bundle, by name or folder; by default the one that the classifier uses.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if there are no fold weights, a picture was seen by all of them, or cannot be used.
    """
    cases = read_cases(source)
    _refuse_same_names(cases)
    if case_list_path(out).resolve() == cases.path.resolve():
        raise BreastkitError(f"{out} holds the case list itself; name another folder with --out.")
    segmenter = Bundle(bundle) if bundle else bundle_for(Role.CLASSIFICATION).used("segmenter")
    members = [] if truth else [_member(path) for path in list(weights) or _shipped(segmenter)]
    chosen = (
        {} if truth else {stem(item["image"]): _unseeing(item, name, cases, members) for name, item in cases.items()}
    )
    _warn_of_strangers(cases, members)
    with atomic_folder(out) as folder:
        lists: dict[str, list[Item]] = {name: [] for name in (*LISTS, "inference")}
        outlined = _with_masks(cases, chosen, folder, segmenter) if members else _with_true_masks(cases, folder)
        for name, item in outlined:
            lists[name].append(item)
        facts = {**cases.facts, "predicted_masks": _told(members)}
        write_cases(folder, {name: items for name, items in lists.items() if items or name in LISTS}, facts=facts)
    return case_list_path(out)


def _refuse_same_names(cases: CaseList) -> None:
    names: dict[str, str] = {}
    for _, item in cases.items():
        other = names.setdefault(stem(item["image"]), item["image"])
        if other != item["image"]:
            raise BreastkitError(f"{other} and {item['image']} have one name, and so would their masks; rename one.")


def _shipped(segmenter: Bundle) -> list[Path]:
    """Returns the fold weights that ship with the segmenter, its default ones among them where they are of a fold."""
    default = segmenter.shipped_weights
    own = [default] if default.is_file() and read_model_json(default).get("unseen") else []
    found = [*own, *segmenter.fold_weights]
    if not found:
        raise BreastkitError(
            f"{default.parent} holds no fold weights (fold0/model.pt …); train them with '--fold K' and name them with "
            "--weights."
        )
    return found


def _member(path: str | Path) -> Member:
    facts = read_model_json(path)
    if not facts.get("unseen"):
        raise BreastkitError(f"{path} does not say which pictures it has not seen; name weights of runs with --fold K.")
    path = Path(path) / "model.pt" if Path(path).is_dir() else Path(path)
    name = f"{facts.get('run', path.parent.name)} {facts['sha256'][:12]}"
    return Member(path, name, frozenset(facts["unseen"]), str(facts.get("case_list_hash", "")))


def _unseeing(item: Item, list_name: str, cases: CaseList, members: Sequence[Member]) -> tuple[Member, ...]:
    """Returns the models that have not seen a picture."""
    name = stem(item["image"])
    unseeing = tuple(member for member in members if name in member.unseen)
    if unseeing:
        return unseeing
    if list_name in ("training", "validation") and any(member.case_list == cases.hash for member in members):
        raise BreastkitError(
            f"{item['image']} was seen by all of the {len(members)} fold models; name the weights of all folds with "
            "--weights, or train the one that leaves it aside."
        )
    return tuple(members)


def _warn_of_strangers(cases: CaseList, members: Sequence[Member]) -> None:
    """Says how many pictures no model names, where the set may be theirs, prepared in another way."""
    names = {stem(item["image"]) for _, item in cases.items()}
    strangers = names - frozenset().union(*(member.unseen for member in members))
    if strangers and strangers != names and all(member.case_list != cases.hash for member in members):
        logger.warning(
            "%d of %d pictures are not among those the fold models name as unseen; they are taken for pictures of "
            "another set, which none has seen. If the models were trained on them, train fold models on this list.",
            len(strangers),
            len(names),
        )


def _with_masks(
    cases: CaseList, chosen: Mapping[str, tuple[Member, ...]], folder: Path, segmenter: Bundle
) -> Iterator[tuple[str, Item]]:
    """Yields list names and items; pictures of the same models one after another, so that each is loaded once."""
    items = sorted(cases.items(), key=lambda entry: [member.name for member in chosen[stem(entry[1]["image"])]])
    order = {id(item): place for place, (_, item) in enumerate(cases.items())}
    done: list[tuple[int, str, Item]] = []
    pictures = track(items, "masks", unit="picture")
    for members, alike in groupby(pictures, key=lambda entry: chosen[stem(entry[1]["image"])]):
        outline = _segmenter(segmenter, [member.path for member in members])
        for name, item in alike:
            mask, _ = outline(read_gray(item["image"]))
            path = write_png(folder / "masks" / f"{stem(item['image'])}.png", mask * np.uint8(255))
            added: dict[str, Any] = {"predicted_mask": str(path), "predicted_by": _said(members)}
            if "label" in item:
                added["predicted_dice"] = round(dice(mask, _true_mask(item)), 4)
            done.append((order[id(item)], name, {**item, **added}))
    yield from ((name, item) for _, name, item in sorted(done, key=lambda entry: entry[0]))


def _segmenter(bundle: Bundle, weights: Sequence[Path]) -> Segmenter:
    ensemble = "folds" if len(weights) > 1 else "none"
    return Segmenter(weights[0], bundle=bundle, fold_weights=list(weights[1:]), ensemble=ensemble, **_RULE)


def _with_true_masks(cases: CaseList, folder: Path) -> Iterator[tuple[str, Item]]:
    for name, item in track(list(cases.items()), "masks", unit="picture"):
        if "label" not in item:
            raise BreastkitError(f"{item['image']} has no true mask; leave out --truth, or the picture.")
        path = write_png(folder / "masks" / f"{stem(item['image'])}.png", _true_mask(item) * np.uint8(255))
        yield name, {**item, "predicted_mask": str(path), "predicted_by": _UPPER_BOUND, "predicted_dice": 1.0}


def _true_mask(item: Item) -> NDArray[Any]:
    return read_mask(item["label"]) > 0


def _said(members: Sequence[Member]) -> str:
    names = ", ".join(member.name for member in members)
    return names if len(members) == 1 else f"mean of {names}"


def _told(members: Sequence[Member]) -> dict[str, Any]:
    if not members:
        return {"by": _UPPER_BOUND}
    return {"by": [member.name for member in members], **_RULE}
