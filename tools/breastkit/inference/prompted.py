"""Outlines that follow what an annotator points at: clicks that add and remove, and a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.transforms.letterbox import Letterbox
from breastkit.transforms.prompts import PROMPT_PLANES, Click, prompt_planes

# How far around a click it is followed in any case, as a share of the picture's longer side.
_FOLLOWED = 0.006
# From this probability on, a pixel belongs to the outline.
INSIDE = 0.5
# The part of a picture that is looked at is so much larger than what is outlined, and no smaller than this share of it.
_AROUND, _SMALLEST, _WHOLE = 1.6, 0.25, 0.9


class Box(NamedTuple):
    """A box on a picture: first row and column, and those after the last."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def around(cls, mask: NDArray[Any]) -> Box:
        """Returns the box around a mask that is not empty."""
        places = np.argwhere(mask)
        return cls(*map(int, (*places.min(0), *(places.max(0) + 1))))

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class Prompts:
    """All that was pointed at on one picture.

    Attributes:
        clicks: in any order.
        box: around what is to be outlined.
    """

    clicks: tuple[Click, ...] = ()
    box: Box | None = None

    def __bool__(self) -> bool:
        return bool(self.clicks) or self.box is not None


def promptable(facts: dict[str, Any]) -> bool:
    """Tells whether weights are of a network that follows prompts, by their ``model.json``."""
    return tuple(facts.get("prompts", ())) == PROMPT_PLANES


class PromptedSegmenter:
    """Outlines pictures by a segmentation bundle whose weights follow prompts.

    Prompts correct what the bundle outlines on its own, with the weights in use. The network that follows them looks at
    the surroundings of what is outlined alone, at a finer resolution.

    Args:
        bundle: the segmentation bundle.
        weights: of a network that takes prompts.
        overrides: ids of the bundle's inference config, for both networks.

    Raises:
        BreastkitError: if the weights are missing, damaged or follow no prompts.
    """

    def __init__(self, bundle: Bundle, weights: str | Path, **overrides: Any) -> None:
        self.bundle, self.automatic = bundle.opened(weights=weights, **overrides), bundle.opened(**overrides)
        if not promptable(self.bundle.facts):
            raise BreastkitError(f"{self.bundle.weights} follow no prompts; train some with configs/train_clicks.json.")

    def start(self, gray: NDArray[Any], box: Box | None = None) -> NDArray[np.float32]:
        """Returns what is outlined before any click, as probabilities on the grid of a gray picture."""
        if box is None:
            prepared = self.automatic.preprocessing({"image": gray})
            probability = self.automatic.run(prepared).sigmoid()
            return np.asarray(self.automatic.back_on_picture(probability, prepared)[0], np.float32)
        before = np.zeros(gray.shape, np.float32)
        before[box.window] = 1
        return self._looked_at(gray, Prompts(box=box), before)

    def follow(self, gray: NDArray[Any], prompts: Prompts, before: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the probabilities after all prompts.

        Args:
            gray: rows, columns.
            prompts: all of them, those that were followed before too.
            before: the probabilities, or the mask, so far.
        """
        found = self._looked_at(gray, prompts, before)
        # What was missed on the whole picture is now known to be there, and is looked at again from near.
        near = (before >= INSIDE).any() or not (found >= INSIDE).any()
        return found if near else self._looked_at(gray, prompts, found)

    def _looked_at(self, gray: NDArray[Any], prompts: Prompts, before: NDArray[Any]) -> NDArray[np.float32]:
        window = view_of(before >= INSIDE, prompts)
        prepared = self.bundle.preprocessing({"image": gray[window]})
        size = int(prepared["image"].shape[-1])
        rows, columns = gray[window].shape
        box = Letterbox(rows, columns, size)
        planes = prompt_planes(_moved(prompts.clicks, window, box), _letterboxed(before[window], box))
        prompted = torch.cat([prepared["image"].as_tensor(), torch.from_numpy(planes)])
        logits = self.bundle.run({"image": prompted})
        probability = np.zeros(gray.shape, np.float32)
        probability[window] = self.bundle.back_on_picture(torch.sigmoid(logits), prepared)[0].numpy()
        return probability


def view_of(mask: NDArray[Any], prompts: Prompts) -> tuple[slice, slice]:
    """Returns the rows and columns to look at: a square around all that is outlined and pointed at.

    Of a picture in which nothing is outlined yet, that is the whole.

    Args:
        mask: what is outlined, bool.
        prompts: what was pointed at.
    """
    places = [np.argwhere(mask), np.array([click[:2] for click in prompts.clicks], float).reshape(-1, 2)]
    if prompts.box is not None:
        places.append(np.array([prompts.box[:2], prompts.box[2:]]))
    rows, columns = mask.shape
    everything = (slice(0, rows), slice(0, columns))
    if not mask.any() and prompts.box is None:
        return everything
    points = np.concatenate(places)
    first, last = points.min(0), points.max(0) + 1
    side = max(_AROUND * float((last - first).max()), _SMALLEST * max(rows, columns))
    if side >= _WHOLE * max(rows, columns):
        return everything
    starts = [
        int(np.clip(round(middle - side / 2), 0, max(0, length - side)))
        for middle, length in zip((first + last) / 2, mask.shape, strict=True)
    ]
    ends = [min(length, round(start + side)) for start, length in zip(starts, mask.shape, strict=True)]
    return slice(starts[0], ends[0]), slice(starts[1], ends[1])


def mask_of(probability: NDArray[Any], prompts: Prompts) -> NDArray[np.bool_]:
    """Returns the outline: a click is always followed where it lies, whatever the network makes of it.

    Pieces that somebody wants removed, and nobody wants added, are gone.

    Args:
        probability: of every pixel.
        prompts: what was pointed at.
    """
    mask = probability >= INSIDE
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    pointed: dict[bool, set[int]] = {True: set(), False: set()}
    for click in prompts.clicks:
        pointed[click.inside].add(int(pieces[round(click.row), round(click.column)]))
    gone = pointed[False] - pointed[True] - {0}
    kept: NDArray[np.uint8] = (mask & ~np.isin(pieces, list(gone))).astype(np.uint8)
    radius = max(1, round(_FOLLOWED * max(mask.shape)))
    # What was removed counts where both are pointed at.
    for click in sorted(prompts.clicks, key=lambda one: not one.inside):
        cv2.circle(kept, (round(click.column), round(click.row)), radius, (int(click.inside),), -1)
    return kept > 0


def _moved(clicks: Sequence[Click], window: tuple[slice, slice], box: Letterbox) -> list[Click]:
    """Returns clicks on a picture where they lie on the square that a part of it was fitted into."""
    moved = []
    for click in clicks:
        row, column = (
            (at - part.start + 0.5) * scaled / length - 0.5 + place.start
            for at, part, scaled, length, place in zip(
                click[:2], window, box.scaled, (box.rows, box.columns), box.window, strict=True
            )
        )
        moved.append(Click(row, column, click.inside))
    return moved


def _letterboxed(picture: NDArray[Any], box: Letterbox) -> NDArray[np.float32]:
    square = np.zeros((box.size, box.size), np.float32)
    shrinks = box.size < max(picture.shape)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    square[box.window] = cv2.resize(picture.astype(np.float32), box.scaled[::-1], interpolation=method)
    return square
