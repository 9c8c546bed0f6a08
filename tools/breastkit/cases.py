"""The case list: the one contract between data and bundles.

A case list is a MONAI datalist, a JSON file with the lists ``training``, ``validation`` and ``test``. Every item
names its ``image``, its ``label`` where there is one, and its ``case``: the patient or group that must stay on one
side of a split. ``training`` items carry ``fold``. Paths are relative to the file. Lists under other names
(``inference`` for scans without truth) and facts about the set (``name``, ``seed``, ``problems``…) are kept as they
are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from breastkit.atomic import write_json
from breastkit.errors import BreastkitError
from breastkit.images import Header, read_header, same_grid

FILE_NAME = "dataset.json"
LISTS = ("training", "validation", "test")
# Keys of an item whose values are files; a list of files is one image of several channels or phases.
PATH_KEYS = ("image", "label", "predicted_mask", "glands")

Item = dict[str, Any]


@dataclass(frozen=True)
class CaseList:
    """A case list in memory, its paths absolute.

    Attributes:
        path: the JSON file.
        training, validation, test: the items of each list.
        inference: items without truth.
        facts: everything else the file says about the set.
    """

    path: Path
    training: list[Item] = field(default_factory=list)
    validation: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    inference: list[Item] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> list[Item]:
        """Returns one list by name.

        Raises:
            BreastkitError: if there is no such list or it is empty.
        """
        if name not in (*LISTS, "inference"):
            raise BreastkitError(f"{self.path} has no list '{name}'; choose one of {', '.join(LISTS)}.")
        items: list[Item] = getattr(self, name)
        if not items:
            raise BreastkitError(f"{self.path} has no case in its list '{name}'; choose another or prepare more cases.")
        return items

    def fold_lists(self, fold: int | None = None) -> tuple[list[Item], list[Item]]:
        """Returns the items to train on and to validate on.

        Args:
            fold: None takes the lists as they are (fold 0 where the set has no validation list); K validates on the
                ``training`` items of fold K and trains on all others, the validation list included.

        Raises:
            BreastkitError: if the set has no such fold.
        """
        if fold is None and self.validation:
            return self.split("training"), self.validation
        fold = fold or 0
        held_out = [item for item in self.training if item.get("fold") == fold]
        others = [item for item in self.training if item.get("fold") != fold]
        if not held_out or not others:
            folds = sorted({item["fold"] for item in self.training if "fold" in item})
            raise BreastkitError(f"{self.path} cannot be validated on fold {fold}; its folds are {folds}.")
        return others + self.validation, held_out

    def leaving_out(self, rule: str | None) -> CaseList:
        """Returns the list without a site, a device or the like, which becomes its test list: leave one site out.

        The other test items are left aside: what is measured is the site left out alone. A case that is partly of it is
        left out of training and validation whole.

        Args:
            rule: a fact and its value, as in ``site=busbra``; None returns the list as it is.

        Raises:
            BreastkitError: if the rule is none, or no item or every item is of that value.
        """
        if rule is None:
            return self
        fact, sign, value = str(rule).partition("=")
        everything = [item for name in LISTS for item in getattr(self, name)]
        values = sorted({str(item[fact]) for item in everything if fact in item})
        if not sign or value not in values or len(values) < 2:
            there = f"has {', '.join(values)} for '{fact}'" if values else f"has no '{fact}'"
            raise BreastkitError(f"{self.path} {there}; leave out one of several, as in --leave_out site=busbra.")
        test = [item for item in everything if str(item.get(fact)) == value]
        gone = {str(item["case"]) for item in test if "case" in item}
        training, validation = (
            [item for item in items if str(item.get(fact)) != value and str(item.get("case")) not in gone]
            for items in (self.training, self.validation)
        )
        plain = [{key: entry for key, entry in item.items() if key != "fold"} for item in test]
        facts = self.facts | {"left_out": rule}
        return replace(self, training=training, validation=validation, test=plain, facts=facts)

    def judged(self, split: str, *, fold: int | None = None) -> list[Item]:
        """Returns the items that weights are judged by: a list by name, of ``validation`` that of `fold_lists`.

        Raises:
            BreastkitError: if there is no such list or fold, or it is empty.
        """
        return self.fold_lists(fold)[1] if split == "validation" else self.split(split)

    def items(self) -> Iterator[tuple[str, Item]]:
        """Yields every item with the name of its list."""
        for name in (*LISTS, "inference"):
            for item in getattr(self, name):
                yield name, item

    @property
    def hash(self) -> str:
        """The sha256 of the lists, the same wherever the folder lies."""
        content = {name: [_relative(item, self.path.parent) for item in getattr(self, name)] for name in LISTS}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def case_list_path(place: str | Path) -> Path:
    """Returns the case list's file for a prepared folder or the file itself."""
    place = Path(place)
    return place / FILE_NAME if place.is_dir() or not place.suffix else place


def read_cases(place: str | Path, *, check: bool = True) -> CaseList:
    """Reads a case list and, unless told not to, checks every item.

    Args:
        place: a prepared folder, or its JSON file.
        check: look at every file named; the pixels are not read, so this takes milliseconds a case.

    Raises:
        BreastkitError: if the file is missing or no case list, or with one sentence per problem, all of them at once.
    """
    path = Path(os.path.normpath(case_list_path(place).absolute()))
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; make it with 'breastkit data prepare'.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BreastkitError(f"{path} is no JSON ({error}); make it again with 'breastkit data prepare'.") from error
    if not isinstance(content, dict) or not isinstance(content.get("training", content.get("test")), list):
        raise BreastkitError(f"{path} has neither a list 'training' nor 'test'; make it with 'breastkit data prepare'.")
    malformed = _malformed_items(content, path)
    if malformed:
        raise BreastkitError("\n".join(malformed))
    lists = {name: [_absolute(item, path.parent) for item in content.get(name, [])] for name in (*LISTS, "inference")}
    cases = CaseList(path, **lists, facts={key: value for key, value in content.items() if key not in lists})
    if check:
        problems = find_problems(cases)
        if problems:
            raise BreastkitError("\n".join(problems))
    return cases


def write_cases(
    place: str | Path, lists: Mapping[str, Iterable[Item]], *, facts: Mapping[str, Any] | None = None
) -> CaseList:
    """Writes a case list in one piece, its paths relative to the file, and returns it.

    Args:
        place: the prepared folder, or the JSON file to write.
        lists: items by list name; paths absolute or relative to the working folder.
        facts: what else to keep: name of the set, seed, problems found…
    """
    path = case_list_path(place).absolute()
    content: dict[str, Any] = dict(facts or {})
    for name in (*LISTS, "inference"):
        if name in LISTS or lists.get(name):
            content[name] = [_relative(item, path.parent) for item in lists.get(name, [])]
    write_json(path, content)
    return read_cases(path, check=False)


def find_problems(cases: CaseList) -> list[str]:
    """Returns one sentence per item that cannot be used as it stands."""
    problems: list[str] = []
    seen: dict[str, str] = {}
    sides: dict[str, str] = {}
    for name, item in cases.items():
        images = _paths(item["image"])
        for image in images:
            if image in seen:
                problems.append(f"{image} is listed twice ({seen[image]} and {name}); remove one of the items.")
            seen[image] = name
        problem = _file_problem(item)
        if problem:
            problems.append(problem)
        if name in LISTS and "case" in item:
            side = sides.setdefault(str(item["case"]), name)
            if side != name:
                problems.append(
                    f"{images[0]} of case {item['case']} is in {name} while others of that case are in {side}; "
                    "keep a case on one side, for example by preparing the set again."
                )
    problems += _split_folds(cases)
    return problems


def _split_folds(cases: CaseList) -> list[str]:
    folds: dict[str, int] = {}
    problems = []
    for item in cases.training:
        if "fold" in item and "case" in item and folds.setdefault(str(item["case"]), item["fold"]) != item["fold"]:
            problems.append(
                f"{_paths(item['image'])[0]} of case {item['case']} is in fold {item['fold']} while others of that "
                f"case are in fold {folds[str(item['case'])]}; prepare the set again."
            )
    return problems


def _file_problem(item: Item) -> str | None:
    try:
        headers = [read_header(path) for path in _paths(item["image"])]
        labels = [read_header(path) for path in _paths(item.get("label", []))]
    except BreastkitError as error:
        return str(error)
    first, path = headers[0], _paths(item["image"])[0]
    for header, other in [*zip(headers[1:], _paths(item["image"])[1:], strict=True), *_labels(item, labels)]:
        if header.shape[: len(first.shape)] != first.shape:
            return f"{other} has shape {header.shape} but {path} has {first.shape}; make one for this image."
        if not same_grid(first, header):
            return f"{other} and {path} have different affines; resample one onto the other."
    return None


def _labels(item: Item, headers: Sequence[Header]) -> list[tuple[Header, str]]:
    # Class labels are no files; only files have headers.
    return list(zip(headers, _paths(item.get("label", [])), strict=True))


def _malformed_items(content: dict[str, Any], path: Path) -> list[str]:
    problems = []
    for name in (*LISTS, "inference"):
        items = content.get(name, [])
        if not isinstance(items, list):
            problems.append(f"{path}: '{name}' is not a list; make it again with 'breastkit data prepare'.")
            continue
        for position, item in enumerate(items):
            if not isinstance(item, dict) or not _paths(item.get("image", [])):
                problems.append(f"{path}: item {position} of '{name}' names no image; add its 'image' or remove it.")
    return problems


def _paths(value: Any) -> list[str]:
    if isinstance(value, str | Path):
        return [str(value)]
    if isinstance(value, list | tuple) and all(isinstance(entry, str | Path) for entry in value):
        return [str(entry) for entry in value]
    return []


def _map_paths(item: Item, change: Callable[[Any], str]) -> Item:
    changed = dict(item)
    for key in PATH_KEYS:
        value = item.get(key)
        if isinstance(value, str | Path):
            changed[key] = change(value)
        elif isinstance(value, list | tuple) and _paths(value):
            changed[key] = [change(entry) for entry in value]
    return changed


def _absolute(item: Item, folder: Path) -> Item:
    return _map_paths(item, lambda path: os.path.normpath(folder / path))


def _relative(item: Item, folder: Path) -> Item:
    # Forward slashes, so that a prepared folder can move between systems.
    return _map_paths(item, lambda path: Path(os.path.relpath(Path(path).absolute(), folder)).as_posix())
