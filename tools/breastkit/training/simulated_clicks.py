"""Clicks as a patient annotator would make them, and trainings that learn to follow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import affine_grid, grid_sample

from breastkit.seeding import generator
from breastkit.transforms.prompts import Click, prompt_planes

# How often an annotator of a training makes no click, one, two and so on, in batches with prompts at all.
_CLICKS = (0.12, 0.26, 0.2, 0.15, 0.11, 0.09, 0.07)
# A click anywhere at least so deep in what is wrong, as a share of the greatest depth: nobody hits the middle.
_DEEP = 0.5


def next_click(mask: NDArray[Any], truth: NDArray[Any], draw: np.random.Generator | None = None) -> Click | None:
    """Returns the click that corrects most: in the middle of the thickest part of what is wrong.

    That is the protocol by which interactive segmentation is compared (RITM, Sofiiuk et al. 2022). The border of the
    picture counts as the end of what is wrong.

    Args:
        mask: what was outlined, bool.
        truth: what should have been.
        draw: makes it a click somewhere in the thick of it instead.

    Returns:
        None where nothing is wrong.
    """
    depths = [_depth(wrong) for wrong in (truth & ~mask, mask & ~truth)]
    missing, too_much = (float(depth.max()) for depth in depths)
    deepest = max(missing, too_much)
    if not deepest:
        return None
    depth = depths[0] if missing >= too_much else depths[1]
    if draw is None:
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        places = np.argwhere(depth >= _DEEP * deepest)
        row, column = places[draw.integers(len(places))]
    return Click(int(row), int(column), missing >= too_much)


def _depth(wrong: NDArray[Any]) -> NDArray[Any]:
    framed = np.pad(wrong, 1).astype(np.uint8)
    return cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]


@dataclass(kw_only=True, eq=False)
class ClickedIteration:
    """An iteration of MONAI's engines over pictures that somebody clicks on, for a network that takes prompts.

    MONAI's `monai.apps.deepedit.Interaction` has no plane for the mask so far, gives a whole batch one number of clicks
    and empties the planes of its first picture alone. Here a share of the batches has no prompts at all: of them the
    network learns to outline on its own. In the others an annotator begins with what the network outlines, with
    nothing or with a box, and clicks up to six times on what is wrong then; the network learns from the last answer.

    Args:
        share: of batches with prompts.
        clicks: so many in every batch, in the middle of what is wrong, after what the network outlines on its own, in
            place of all chance: to validate by.
        zoom: share of batches with prompts in which only the surroundings of what is to be outlined are shown.
    """

    share: float = 0.5
    clicks: int | None = None
    zoom: float = 0.6

    def __call__(self, engine: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns what the engine makes of a batch, its prompts behind its pictures."""
        # Follows the seeds of epoch and process, so that a continued run draws what an unbroken one would have.
        draw = generator(int(torch.randint(2**62, (1,)))) if self.clicks is None else None
        if draw is not None:
            if draw.random() >= self.share:
                return dict(engine._iteration(engine, batch))
            if draw.random() < self.zoom:
                batch = {**batch, **_surroundings(batch["image"], batch["label"], draw)}
        image, label = batch["image"], batch["label"]
        count = int(draw.choice(len(_CLICKS), p=_CLICKS)) if draw is not None else int(self.clicks or 0)
        prompted = self._clicked(engine, image, label[:, 0].numpy() > 0.5, count, draw)
        return dict(engine._iteration(engine, {**batch, "image": prompted}))

    def _clicked(
        self, engine: Any, image: torch.Tensor, truths: NDArray[Any], count: int, draw: np.random.Generator | None
    ) -> torch.Tensor:
        """Returns the pictures with the planes of so many clicks behind them."""
        clicks: list[list[Click]] = [[] for _ in truths]
        before = _answer(engine, image)
        if draw is not None:
            before = np.stack([_start(one, truth, draw) for one, truth in zip(before, truths, strict=True)])
        for number in range(count):
            for own, mask, truth in zip(clicks, before >= 0.5, truths, strict=True):
                if (click := next_click(mask, truth, draw)) is not None:
                    own.append(click)
            if number + 1 < count:
                before = _answer(engine, _with_planes(image, clicks, before))
        return _with_planes(image, clicks, before)


def _with_planes(image: torch.Tensor, clicks: Sequence[Sequence[Click]], before: NDArray[Any]) -> torch.Tensor:
    planes = np.stack([prompt_planes(own, mask) for own, mask in zip(clicks, before, strict=True)])
    return torch.cat([image, torch.from_numpy(planes).to(image)], 1)


def _answer(engine: Any, image: torch.Tensor) -> NDArray[Any]:
    """Returns the probabilities that an engine's network gives now, ``(batch, rows, columns)``."""
    engine.network.eval()
    with torch.no_grad():
        logits = engine.inferer(image.to(engine.state.device), engine.network)
    answer: NDArray[Any] = torch.sigmoid(logits[:, 0]).cpu().numpy()
    return answer


def _start(probability: NDArray[Any], truth: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    """Returns what an annotator of a training begins with: what was outlined, nothing, or a box."""
    chance = draw.random()
    if chance < 0.5 or not truth.any():
        return probability if chance < 0.35 else (probability >= 0.5).astype(np.float32)
    started = np.zeros_like(probability)
    if chance < 0.75:
        first, last = _box(truth)
        top, left = np.maximum(0, np.round(first + draw.normal(0, 0.05, 2) * (last - first))).astype(int)
        bottom, right = np.maximum(1, np.round(last + draw.normal(0, 0.05, 2) * (last - first))).astype(int)
        started[top:bottom, left:right] = 1
    return started


def _box(mask: NDArray[Any]) -> NDArray[Any]:
    """Returns the first and the last row and column of a mask, the last ones outside."""
    places = np.argwhere(mask)
    return np.stack([places.min(0), places.max(0) + 1])


def _surroundings(image: torch.Tensor, label: torch.Tensor, draw: np.random.Generator) -> dict[str, torch.Tensor]:
    """Returns pictures and masks cut down to the surroundings of the masks, at the size they had."""
    size = np.array(image.shape[-2:], float)
    moves = np.zeros((len(image), 2, 3), np.float32)
    for move, mask in zip(moves, label[:, 0].numpy() > 0.5, strict=True):
        box = _box(mask) if mask.any() else np.array([[0, 0], size])
        side = min(size.max(), (box[1] - box[0]).max() * draw.uniform(1.2, 2.5) + 8)
        centre = box.mean(0) + draw.uniform(-0.15, 0.15, 2) * side
        centre = np.clip(centre, side / 2, size - side / 2)
        # From -1 to 1 over the picture, columns first.
        move[:] = [[side / size[1], 0, 2 * centre[1] / size[1] - 1], [0, side / size[0], 2 * centre[0] / size[0] - 1]]
    grid = affine_grid(torch.from_numpy(moves), list(image.shape), align_corners=False)
    shown = grid_sample(image, grid, align_corners=False)
    deviation, mean = torch.std_mean(shown, dim=(1, 2, 3), keepdim=True)
    cut = grid_sample(label.float(), grid, mode="nearest", align_corners=False)
    return {"image": (shown - mean) / deviation.clamp(min=1e-6), "label": cut}
