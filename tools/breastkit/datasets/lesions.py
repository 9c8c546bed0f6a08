"""Choosing images by whether they show a lesion, and how often each is learnt from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from breastkit.cases import Item, case_list_path, read_cases
from breastkit.datasets.slices import SlicesOfVolumes
from breastkit.seeding import generator
from breastkit.training import LesionLabel


class LesionMasks(SlicesOfVolumes):
    """Pictures and masks that say of what class their lesion is, as `breastkit.training.LesionLabel`.

    The class is that of the item; one that is neither benign nor malignant is unknown.
    """

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        name = str(self.data[item["case"]].get("class", "")).upper()
        label = LesionLabel.__members__.get(name, LesionLabel.UNKNOWN)
        return {**item, "label": (item["label"] > 0.5) * float(label)}


def with_lesion(items: Sequence[Item], *, only: bool = True) -> list[Item]:
    """Returns the items whose mask is not empty.

    An item that does not say so by ``lesion_px``, which preparation writes, is taken to show a lesion.

    Args:
        items: of a case list.
        only: False returns all items, so that a config can switch the choice off.
    """
    return [item for item in items if not only or item.get("lesion_px", 1)]


def balanced(items: Sequence[Item], *, by: Sequence[str] = ("site",), seed: int = 0) -> list[Item]:
    """Returns the items with those of smaller groups repeated, so that an epoch holds as many of each group.

    Args:
        items: of a case list; one that does not say a fact belongs to the group of those that do not.
        by: the facts that make a group; of an empty list all items are one.
        seed: of the draw of those that are repeated once more than the others of their group.
    """
    groups: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    for item in items:
        groups[tuple(str(item.get(fact)) for fact in by)].append(item)
    most = max(map(len, groups.values()), default=0)
    repeated = []
    for name, group in groups.items():
        whole, rest = divmod(most, len(group))
        extra = generator(seed, "balanced", *name).permutation(len(group))[:rest]
        repeated += group * whole + [group[position] for position in sorted(extra)]
    return repeated


def validated_without_lesion(
    dataset_dir: str | Path, items: Sequence[Item], *, fold: int | None = None, leave_out: str | None = None
) -> list[Item]:
    """Returns the validation items that `with_lesion` left out, so that a choice can be made on all of them.

    Args:
        dataset_dir: the prepared folder; where there is none, as under MONAI Label, nothing was left out.
        items: the validation items in use.
        fold: as for `CaseList.fold_lists`.
        leave_out: as for `CaseList.leaving_out`.
    """
    if not case_list_path(dataset_dir).is_file():
        return []
    everything = read_cases(dataset_dir, check=False).leaving_out(leave_out).fold_lists(fold)[1]
    used = {str(item["image"]) for item in items}
    if not used <= {str(item["image"]) for item in everything}:
        # Items of another origin; this folder has no say in them.
        return []
    return [item for item in everything if str(item["image"]) not in used]
