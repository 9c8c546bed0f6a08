"""Choosing images by whether they show a lesion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from breastkit.cases import Item, case_list_path, read_cases


def with_lesion(items: Sequence[Item], *, only: bool = True) -> list[Item]:
    """Returns the items whose mask is not empty.

    An item that does not say so by ``lesion_px``, which preparation writes, is taken to show a lesion.

    Args:
        items: of a case list.
        only: False returns all items, so that a config can switch the choice off.
    """
    return [item for item in items if not only or item.get("lesion_px", 1)]


def validated_without_lesion(dataset_dir: str | Path, items: Sequence[Item], *, fold: int | None = None) -> list[Item]:
    """Returns the validation items that `with_lesion` left out, so that a choice can be made on all of them.

    Args:
        dataset_dir: the prepared folder; where there is none, as under MONAI Label, nothing was left out.
        items: the validation items in use.
        fold: as for `CaseList.fold_lists`.
    """
    if not case_list_path(dataset_dir).is_file():
        return []
    everything = read_cases(dataset_dir, check=False).fold_lists(fold)[1]
    used = {str(item["image"]) for item in items}
    if not used <= {str(item["image"]) for item in everything}:
        # Items of another origin; this folder has no say in them.
        return []
    return [item for item in everything if str(item["image"]) not in used]
