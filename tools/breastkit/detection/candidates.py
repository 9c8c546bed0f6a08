"""Boxes of slices linked over neighbouring slices into scored three-dimensional candidates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray

from breastkit.detection.boxes import overlap, pick_boxes

# A chain may miss so many slices in a row, for a lesion fades where the slice before and after show it.
_GAP = 2
_LINK = 0.2
# A candidate's score is the mean of this many of its best slices: one slice alone convinces nobody.
_BEST = 3


@dataclass(frozen=True)
class Candidate:
    """Something that may be a lesion, seen in one or several slices.

    Attributes:
        score: from 0 to 1.
        slices: numbers of its slices, rising.
        boxes: x0, y0, x1, y1 and score of each of these slices.
    """

    score: float
    slices: tuple[int, ...]
    boxes: NDArray[Any]

    @property
    def edges(self) -> tuple[float, float, float, float, float, float]:
        """Lower outer edges, then upper ones, in slices and pixels of the squares: z0, y0, x0, z1, y1, x1.

        A slice reaches from its number to the next one. Edges are those of the boxes of at least half the best score,
        so that a faint slice does not blow them up.
        """
        sure = self.boxes[self.boxes[:, 4] >= 0.5 * self.boxes[:, 4].max()]
        x0, y0 = sure[:, :2].min(0)
        x1, y1 = sure[:, 2:4].max(0)
        return (float(self.slices[0]), float(y0), float(x0), float(self.slices[-1] + 1), float(y1), float(x1))


def link_boxes(slices: Sequence[NDArray[Any]], *, gap: int = _GAP, link: float = _LINK) -> list[Candidate]:
    """Links the boxes of neighbouring slices, and returns the candidates, highest score first.

    A box goes on with the chain whose last box it overlaps most; each chain takes one box a slice.

    Args:
        slices: boxes ``(N, 5)`` of every slice, one after another.
        gap: how many slices a chain may miss.
        link: overlap that two boxes need.
    """
    chains: list[list[tuple[int, NDArray[Any]]]] = []
    for number, boxes in enumerate(slices):
        open_chains = [chain for chain in chains if number - chain[-1][0] <= gap + 1]
        taken: set[int] = set()
        if open_chains and len(boxes):
            shared = overlap(np.array([chain[-1][1][:4] for chain in open_chains]), boxes[:, :4])
            for place in np.argsort(-shared, axis=None, kind="stable"):
                chain, box = divmod(int(place), len(boxes))
                if shared[chain, box] < link:
                    break
                if box not in taken and open_chains[chain][-1][0] < number:
                    open_chains[chain].append((number, boxes[box]))
                    taken.add(box)
        chains += [[(number, box)] for position, box in enumerate(boxes) if position not in taken]
    return sorted((_candidate(chain) for chain in chains), key=lambda each: -each.score)


def find_candidates(output: Iterable[NDArray[Any]], *, lowest: float = 0.05, score: float = 0.0) -> list[Candidate]:
    """Returns what a detector found in a volume.

    Args:
        output: what the detector gives for every slice, ``(5, anchors)``.
        lowest: boxes of lower scores are not linked.
        score: candidates of lower scores are left out.
    """
    found = link_boxes([pick_boxes(each, lowest=lowest) for each in output])
    return _apart([each for each in found if each.score >= score])


def _candidate(chain: Sequence[tuple[int, NDArray[Any]]]) -> Candidate:
    boxes = np.array([box for _, box in chain])
    best = np.sort(boxes[:, 4])[::-1][:_BEST]
    return Candidate(float(best.sum() / _BEST), tuple(number for number, _ in chain), boxes)


def _apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Leaves out candidates that lie within a better one."""
    kept: list[Candidate] = []
    for candidate in candidates:
        low, high = (np.array(candidate.edges[part]) for part in (slice(0, 3), slice(3, 6)))
        middle = (low + high) / 2
        if not any((np.array(k.edges[:3]) <= middle).all() and (middle <= np.array(k.edges[3:])).all() for k in kept):
            kept.append(candidate)
    return kept


class LinkBoxesd(MapTransform):
    """Replaces a detector's output ``(5, anchors, slices)`` by the candidates in it.

    Args:
        keys: the outputs.
        lowest: boxes of lower scores are not linked.
        score: candidates of lower scores are left out.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self, keys: KeysCollection, *, lowest: float = 0.05, score: float = 0.25, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.lowest, self.score = float(lowest), float(score)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with candidates."""
        results = dict(data)
        for key in self.key_iterator(results):
            output = np.moveaxis(np.asarray(torch.as_tensor(results[key]).cpu()), -1, 0)
            results[key] = find_candidates(output, lowest=self.lowest, score=self.score)
        return results
