"""Splits by group: stratified, seeded, written once and never reshuffled.

Groups (patients, view pairs, near-duplicates) are dealt one by one in the order of a hash, each to the list that lacks
most of its class, so that the order of the items never matters and large groups reach every list. What a previous case
list holds stays where it was; only new groups are dealt.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breastkit.cases import LISTS, Item, case_list_path, read_cases
from breastkit.errors import BreastkitError

FRACTIONS = (0.7, 0.2, 0.1)


@dataclass(frozen=True)
class Split:
    """Items dealt to lists.

    Attributes:
        lists: items by list name, ``training`` items with their ``fold``.
        left_out: items that would have tied together cases on two sides of the existing split.
    """

    lists: dict[str, list[Item]]
    left_out: list[Item] = field(default_factory=list)


@dataclass
class _Group:
    name: str
    items: list[Item]
    stratum: str
    home: tuple[str, int | None] | None

    @property
    def size(self) -> int:
        return len(self.items)


def lists_before(out: Path, name: str, split: Mapping[str, Any], *, options: str) -> dict[str, list[Item]] | None:
    """Returns the lists of an earlier preparation, None where there was none.

    Args:
        out: the prepared folder.
        name: of the data set.
        split: what the split is made from.
        options: what else it may have been prepared with, in words.

    Raises:
        BreastkitError: if the folder holds another set or split.
    """
    path = case_list_path(out)
    if not path.exists():
        return None
    cases = read_cases(path, check=False)
    if cases.facts.get("name") != name or cases.facts.get("split") != split:
        raise BreastkitError(
            f"{path} was prepared from another set or with {options}, which is never reshuffled; choose another "
            "folder or remove this one."
        )
    return {part: getattr(cases, part) for part in LISTS}


def split_items(
    items: Iterable[Item],
    *,
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
    folds: int = 5,
    stratify: str | None = None,
    previous: dict[str, list[Item]] | None = None,
) -> Split:
    """Deals items to training, validation and test by their ``case``, and training items to folds.

    Every list with a share gets at least one case from three groups up.

    Args:
        items: items with ``image`` and ``case``; an item that brings its own ``fold`` is a training item of that fold.
        seed: another seed gives another split.
        fractions: shares of training, validation and test.
        folds: number of folds of the training list.
        stratify: the key whose values are to be spread evenly, for example ``class``.
        previous: the lists of an earlier split, whose items stay where they were.

    Returns:
        The split; items keep the order of their images' names.
    """
    homes = {_identity(item): (name, item.get("fold")) for name, old in (previous or {}).items() for item in old}
    groups, left_out = _groups(items, stratify, homes)
    ordered = sorted(groups, key=lambda group: _rank(seed, group.name))
    dealt = _deal(ordered, dict(zip(LISTS, fractions, strict=True)), {g.name: g.home[0] for g in groups if g.home})
    training = [group for group in ordered if dealt[group.name] == "training"]
    kept = {g.name: str(g.home[1]) for g in training if g.home and g.home[1] is not None}
    fold_of = _deal(training, {str(fold): 1 / folds for fold in range(folds)}, kept)

    lists: dict[str, list[Item]] = {name: [] for name in LISTS}
    for group in groups:
        name = dealt[group.name]
        for item in group.items:
            plain = {key: value for key, value in item.items() if key != "fold"}
            lists[name].append(plain | {"fold": int(fold_of[group.name])} if name == "training" else plain)
    for name in LISTS:
        lists[name].sort(key=_identity)
    return Split(lists, left_out)


def _groups(
    items: Iterable[Item], stratify: str | None, homes: dict[str, tuple[str, int | None]]
) -> tuple[list[_Group], list[Item]]:
    members: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        members[str(item["case"])].append(item)
    groups, left_out = [], []
    for name, group_items in sorted(members.items()):
        old_homes = {homes[_identity(item)] for item in group_items if _identity(item) in homes}
        own_folds = {("training", item["fold"]) for item in group_items if "fold" in item}
        if len(old_homes) > 1:
            # New items tie together cases that lie on two sides: the old stay, the new cannot be used.
            left_out += [item for item in group_items if _identity(item) not in homes]
            groups += [
                _Group(f"{name}#{_identity(item)}", [item], _stratum([item], stratify), homes[_identity(item)])
                for item in group_items
                if _identity(item) in homes
            ]
            continue
        home = next(iter(old_homes or own_folds), None)
        groups.append(_Group(name, group_items, _stratum(group_items, stratify), home))
    return groups, left_out


def _deal(groups: Sequence[_Group], shares: dict[str, float], kept: dict[str, str]) -> dict[str, str]:
    """Deals groups to places in proportion to their shares, class by class; kept groups do not move."""
    places = [place for place, share in shares.items() if share > 0]
    dealt = dict(kept)
    for place in set(kept.values()) - set(places):
        shares = shares | {place: 0.0}
    total: Counter[str] = Counter()
    have: dict[str, Counter[str]] = {place: Counter() for place in shares}
    count = Counter(dealt.values())
    for group in groups:
        total[group.stratum] += group.size
        if group.name in dealt:
            have[dealt[group.name]][group.stratum] += group.size
    everything = sum(total.values())
    new = [group for group in groups if group.name not in dealt]
    for position, group in enumerate(new):
        empty = [place for place in places if not count[place]]
        remaining = len(new) - position
        # The first place is served first; the others get theirs before groups run out.
        candidates = empty if empty and remaining <= len(empty) else places

        def lacking(place: str, stratum: str = group.stratum) -> tuple[float, float]:
            in_stratum = shares[place] * total[stratum] - have[place][stratum]
            overall = shares[place] * everything - sum(have[place].values())
            return in_stratum, overall

        place = max(candidates, key=lacking)
        dealt[group.name] = place
        have[place][group.stratum] += group.size
        count[place] += 1
    return dealt


def _stratum(items: Sequence[Item], key: str | None) -> str:
    if key is None:
        return ""
    return Counter(sorted(str(item.get(key)) for item in items)).most_common(1)[0][0]


def _identity(item: Item) -> str:
    image = item["image"]
    return str(image if not isinstance(image, list | tuple) else image[0])


def _rank(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
