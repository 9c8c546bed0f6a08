"""One case list of several: what is learnt from several hospitals, and measured on each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from breastkit.atomic import make_folder
from breastkit.cases import LISTS, CaseList, Item, case_list_path, read_cases, write_cases
from breastkit.datasets.splits import split_items
from breastkit.errors import BreastkitError
from breastkit.images import stem
from breastkit.logs import get_logger

# Of the cases of the fold held out, a third to choose by and two thirds to measure on.
_HELD_OUT = (0.0, 1 / 3, 2 / 3)

_log = get_logger(__name__)


def join_case_lists(folders: Sequence[str], *, out: str | Path, test_fold: int | None = None, seed: int = 0) -> Path:
    """Joins prepared sets to one case list; the images stay where they are.

    Every case stays in the list and the fold it was in, and gets its site before its name. A set that names no site
    gets that of its folder.

    Args:
        folders: prepared sets, each with its case list.
        out: the folder to write the case list to.
        test_fold: make this fold of every set its validation list (a third of the cases) and test list (the rest), to
            go on from weights that were trained without it; only for sets that are all in folds.
        seed: with test_fold, another seed gives another choice of the two lists.

    Returns:
        The path of the case list.

    Raises:
        BreastkitError: if there are not two sets, two images share a name, or the folder holds another set.
    """
    places = [folders] if isinstance(folders, str) else list(folders)
    if len(places) < 2:
        raise BreastkitError("One set is nothing to join; name the folders of two or more.")
    _refuse_prepared(Path(out))
    sets = [read_cases(place) for place in places]
    lists: dict[str, list[Item]] = {name: [] for name in LISTS}
    for cases in sets:
        own = _with_sites(cases)
        for name, items in (own if test_fold is None else _held_out(own, test_fold, seed, cases)).items():
            lists[name] += items
    _refuse_same_names(item for items in lists.values() for item in items)
    facts = {
        "name": " + ".join(str(cases.facts.get("name", cases.path.parent.name)) for cases in sets),
        "joined": [{"name": cases.facts.get("name"), "hash": cases.hash} for cases in sets],
        "problems": [problem for cases in sets for problem in cases.facts.get("problems", [])],
    }
    joined = write_cases(make_folder(out), lists, facts=facts)
    _log.info("%s: %s", facts["name"], ", ".join(f"{len(items)} {name}" for name, items in lists.items()))
    return joined.path


def _refuse_prepared(out: Path) -> None:
    path = case_list_path(out)
    if path.exists() and "joined" not in read_cases(path, check=False).facts:
        raise BreastkitError(f"{path} is the case list of a prepared set; give another folder to --out.")


def _with_sites(cases: CaseList) -> dict[str, list[Item]]:
    folder = cases.path.parent.name
    lists: dict[str, list[Item]] = {}
    for name in LISTS:
        items = [{"site": folder} | item for item in getattr(cases, name)]
        lists[name] = [item | {"case": f"{item['site']}/{item.get('case', stem(item['image']))}"} for item in items]
    return lists


def _held_out(lists: dict[str, list[Item]], fold: int, seed: int, cases: CaseList) -> dict[str, list[Item]]:
    chosen = [item for item in lists["training"] if item.get("fold") == fold]
    if not chosen or lists["validation"] or lists["test"]:
        raise BreastkitError(
            f"{cases.path} is not all in folds, with one of number {fold}; prepare the set with --folds first."
        )
    # A fold of its own would make an item a training item.
    plain = [{key: value for key, value in item.items() if key != "fold"} for item in chosen]
    stratify: Any = "class" if any("class" in item for item in plain) else None
    split = split_items(plain, seed=seed, fractions=_HELD_OUT, stratify=stratify)
    return {**split.lists, "training": [item for item in lists["training"] if item.get("fold") != fold]}


def _refuse_same_names(items: Iterable[Item]) -> None:
    """Results and what a network has not seen are told apart by the images' names."""
    seen: dict[str, str] = {}
    for item in items:
        name = stem(item["image"])
        if name in seen:
            raise BreastkitError(
                f"{item['image']} and {seen[name]} have one name; rename one and prepare its set again."
            )
        seen[name] = item["image"]
