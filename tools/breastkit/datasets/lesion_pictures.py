"""Pictures with the mask and the class of their lesion, for a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import torch

from breastkit.cases import Item, read_cases
from breastkit.datasets.slices import SlicesOfVolumes
from breastkit.errors import BreastkitError
from breastkit.images import stem


class Masks(StrEnum):
    """Where the masks a classifier looks at come from."""

    PREDICTED = "predicted"
    TRUTH = "truth"
    NONE = "none"


class LesionPictures(SlicesOfVolumes):
    """Pictures preprocessed once and kept compactly, with the masks a classifier is to look at.

    An item is ``{"image", "label", "case"}``: what `transform` makes of the picture and its mask (which it gets under
    ``label``), the index of the class, and the position of the picture in `data`.

    Args:
        data: items with the path ``image`` and the ``class``.
        volume_transform: turns an item into a picture and a mask ``(1, rows, columns)``.
        transform: what to do to each, random or not.
        classes: names of the classes in order.
        masks: where masks come from; see `masked`.
        seed: with `set_epoch`, decides what a random transform does to a picture.

    Raises:
        BreastkitError: if there is no picture, one cannot be used, or is of none of the classes.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        volume_transform: Callable[..., Any],
        transform: Callable[..., Any] | None = None,
        *,
        classes: Sequence[str],
        masks: Masks | str = Masks.PREDICTED,
        seed: int = 0,
    ) -> None:
        masks = _one_of_masks(masks)
        items = [
            {"image": one["image"]} | ({"label": one["mask"]} if "mask" in one else {}) for one in masked(data, masks)
        ]
        if masks is Masks.NONE:
            volume_transform = partial(_without_mask, transform=volume_transform)
        self.targets = [_index_of(item, classes) for item in data]
        super().__init__(items, volume_transform, transform, seed=seed)
        self.data = list(data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        return {"image": item["image"], "label": self.targets[item["case"]], "case": item["case"]}


def of_classes(items: Sequence[Item], classes: Sequence[str]) -> list[Item]:
    """Returns the items of the classes."""
    return [item for item in items if item.get("class") in classes]


def masked(items: Sequence[Mapping[str, Any]], masks: Masks | str) -> list[Item]:
    """Returns items whose ``mask`` is the one a classifier is to look at.

    Args:
        items: of a case list.
        masks: ``predicted`` by a segmenter that has not seen the picture; ``truth``, what was drawn, which no picture
            has when it is diagnosed: an upper bound; ``none``.

    Raises:
        BreastkitError: if an item lacks such a mask.
    """
    masks = _one_of_masks(masks)
    key = {Masks.PREDICTED: "predicted_mask", Masks.TRUTH: "label"}.get(masks)
    if key is None:
        return [{name: value for name, value in item.items() if name != "mask"} for item in items]
    for item in items:
        if not item.get(key):
            remedy = "make the masks with 'breastkit data crossfit'" if masks is Masks.PREDICTED else "leave it out"
            raise BreastkitError(f"{item['image']} has no {masks} mask; {remedy}, or take no masks with --masks none.")
    return [{**item, "mask": item[key]} for item in items]


def unseen_pictures(dataset_dir: str | Path, fold: int | None) -> list[str]:
    """Returns the names of the pictures, of whatever class, that training on a fold leaves aside."""
    if fold is None:
        return []
    return [stem(item["image"]) for item in read_cases(dataset_dir, check=False).fold_lists(fold)[1]]


def _index_of(item: Mapping[str, Any], classes: Sequence[str]) -> int:
    if item.get("class") not in classes:
        raise BreastkitError(
            f"{item['image']} is of class '{item.get('class', '')}', none of {', '.join(classes)}; name its class in "
            "the case list or leave it out."
        )
    return list(classes).index(item["class"])


def _one_of_masks(masks: Masks | str) -> Masks:
    try:
        return Masks(masks)
    except ValueError as error:
        raise BreastkitError(f"masks is '{masks}'; choose one of {', '.join(Masks)}.") from error


def _without_mask(item: dict[str, Any], *, transform: Callable[..., Any]) -> dict[str, Any]:
    result = transform(item)
    return {**result, "label": torch.zeros_like(result["image"])}
