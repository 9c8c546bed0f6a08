"""What several readers' labels of one image come to: the outline and the class that most of them say, or STAPLE's.

Outlines are compared by what is drawn, not by how readers number it: ``lesion 2`` is a lesion, and so is what is called
by its class, ``benign`` or ``malignant``; what is called ``normal`` outlines nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from breastkit.errors import BreastkitError
from breastkit.metrics.segmentation import bounding_box, dice
from breastkit.server.labels.label_files import base_name, labels_of
from breastkit.server.labels.saved_labels import SavedLabel

_LESION, _NORMAL = "lesion", "normal"
_CLASSES_OF_LESIONS = ("benign", "malignant")
# Of voxels around what anybody drew: what STAPLE makes of two readers depends on how much else it is shown.
_MARGIN = 10
_MOST_ITERATIONS = 100


class Method(StrEnum):
    """How a consensus is made."""

    MAJORITY = "majority"
    STAPLE = "staple"


@dataclass(frozen=True)
class Reading:
    """One reader's label of an image.

    Attributes:
        reader: whose.
        masks: what is outlined [column, row, slice], by name.
        of_class: normal, benign or malignant, where it was said.
    """

    reader: str
    masks: Mapping[str, NDArray[np.bool_]]
    of_class: str | None = None


@dataclass(frozen=True)
class Consensus:
    """What readers agree on.

    Attributes:
        labels: [column, row, slice].
        names: numbers of the labels by name.
        of_class: that most of those who said one said.
    """

    labels: NDArray[np.uint8]
    names: dict[str, int]
    of_class: str | None


class UndecidedError(BreastkitError):
    """Readers share nothing, so that somebody has to choose."""


def reading_of(reader: str, saved: SavedLabel) -> Reading:
    """Returns a saved label as what its reader outlined.

    Raises:
        BreastkitError: if its label map is damaged.
    """
    labels = labels_of(saved.path)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, number in saved.info["labels"].items():
        drawn = labels == number
        if (kind := _kind_of(name)) != _NORMAL:
            masks[kind] = masks[kind] | drawn if kind in masks else drawn
    return Reading(reader, masks or {_LESION: np.zeros(labels.shape, bool)}, saved.info["class"])


def _kind_of(name: str) -> str:
    kind = base_name(name) or name
    return _LESION if kind in _CLASSES_OF_LESIONS else kind


def dices_of(first: Reading, second: Reading) -> dict[str, float]:
    """Returns the Dice of two readings by name; where neither outlines anything they agree.

    Raises:
        BreastkitError: if they are not of one grid.
    """
    shapes = {mask.shape for one in (first, second) for mask in one.masks.values()}
    if len(shapes) > 1:
        raise BreastkitError(
            f"The labels of {first.reader} and {second.reader} have different sizes, as the image was replaced between "
            "them; have it outlined anew."
        )
    names = [name for name in _names_of((first, second)) if any(_is_drawn(one, name) for one in (first, second))]
    return {name: dice(_mask(first, name), _mask(second, name)) for name in names or [_LESION]}


def consensus_of(readings: Sequence[Reading], method: Method = Method.MAJORITY) -> Consensus:
    """Returns the consensus of at least two readings of one image.

    By majority a voxel is what more than half of the readers call it: of two readers, what both do.

    Args:
        readings: of different readers, on one grid.
        method: how.

    Raises:
        UndecidedError: if no two of them share anything.
        BreastkitError: if they are not of one grid.
    """
    if not any(value > 0 for pair in combinations(readings, 2) for value in dices_of(*pair).values()):
        raise UndecidedError(_undecided(readings))
    names = _names_of(readings)
    likely = np.stack([_agreed([_mask(one, name) for one in readings], method) for name in names])
    best = likely.argmax(axis=0)
    labels = np.where(np.take_along_axis(likely, best[None], axis=0)[0] > 0.5, best + 1, 0).astype(np.uint8)
    if not labels.any() and 2 * sum(any(map(np.any, one.masks.values())) for one in readings) >= len(readings):
        # Something is there, and nowhere do enough of them see it.
        raise UndecidedError(_undecided(readings))
    return Consensus(labels, {name: number for number, name in enumerate(names, start=1)}, class_of(readings))


def _undecided(readings: Sequence[Reading]) -> str:
    who = ", ".join(one.reader for one in readings[:-1]) + f" and {readings[-1].reader}"
    return f"{who} do not outline the same; a reviewer chooses one of their labels."


def class_of(readings: Sequence[Reading]) -> str | None:
    """Returns the class that more than half of those who said one said; None where there is none."""
    said = Counter(one.of_class for one in readings if one.of_class)
    return next((name for name, count in said.items() if 2 * count > said.total()), None)


def _agreed(masks: Sequence[NDArray[np.bool_]], method: Method) -> NDArray[np.floating[Any]]:
    """Returns of every voxel how likely it is part of what is outlined."""
    if method is Method.MAJORITY:
        share: NDArray[np.float32] = np.mean(masks, axis=0, dtype=np.float32)
        return share
    drawn = np.any(masks, axis=0)
    likely = np.zeros(drawn.shape, np.float32)
    if drawn.any():
        window = tuple(
            slice(max(0, part.start - _MARGIN), min(size, part.stop + _MARGIN))
            for part, size in zip(bounding_box(drawn), drawn.shape, strict=True)
        )
        likely[window] = _staple([mask[window] for mask in masks])
    return likely


def _staple(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.float32]:
    # ITK's own wrapping loads for ten seconds and more before it does the same.
    import SimpleITK

    untyped: Any = SimpleITK
    staple = untyped.STAPLEImageFilter()
    staple.SetForegroundValue(1)
    staple.SetMaximumIterations(_MOST_ITERATIONS)
    images = [untyped.GetImageFromArray(np.ascontiguousarray(mask, dtype=np.uint8)) for mask in masks]
    found: NDArray[np.float32] = untyped.GetArrayFromImage(staple.Execute(images)).astype(np.float32)
    return found


def _names_of(readings: Sequence[Reading]) -> list[str]:
    return list(dict.fromkeys(name for one in readings for name in one.masks))


def _is_drawn(reading: Reading, name: str) -> bool:
    return name in reading.masks and bool(reading.masks[name].any())


def _mask(reading: Reading, name: str) -> NDArray[np.bool_]:
    found = reading.masks.get(name)
    return found if found is not None else np.zeros_like(next(iter(reading.masks.values())))
