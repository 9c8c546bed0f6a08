"""Slices with boxes as the regions a lesion segmenter learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from monai.transforms import Randomizable
from numpy.typing import NDArray
from torch.utils.data import Dataset

from breastkit.cases import CaseList, Item, case_list_path, read_cases
from breastkit.datasets.slices import without_metadata
from breastkit.dce.phases import DEFAULT_CHANNELS, slice_boxes
from breastkit.errors import BreastkitError
from breastkit.images import read_mask
from breastkit.seeding import generator
from breastkit.transforms.crop_to_box import Box, Region, cut_region, region_around, whole


class LesionRegions(Dataset[dict[str, Any]]):
    """Colour slices with their masks, cut to a square around a lesion's box, or whole.

    A slice without lesion is cut where the lesion of its case lies in the nearest slice: so a network learns what
    stands above and below a lesion, which boxes that were detected hold as well. Slices
    of a case that shows no lesion are left out, unless no case shows any: then they are taken whole. Of a slice with
    several boxes training takes one at random each time, validation each of them.

    An item is ``{"image", "label"}``, float32 ``(3, size, size)`` from 0 to 1 and ``(1, size, size)``, and ``case``,
    the position of its case among all.

    Args:
        data: items with ``image`` and ``label``; ``boxes`` of lesions are found in the mask where they are not given.
        image_size: side of what comes out.
        detection: False takes whole slices.
        margin: around a box, as a share of its longer side.
        shift: how far at most a region is moved at random, as a share of its side.
        zoom: by which factor at most it is made larger or smaller at random.
        random: choose and move regions at random, for training.
        most: how many slices at most are used, chosen by the seed, up to two thirds of them with a lesion.
        transform: what to do to each region, random or not.
        seed: with `set_epoch`, decides what is drawn.

    Attributes:
        cases: how many there are.
        slice_size: side of the slices as they were prepared.

    Raises:
        BreastkitError: if the list is empty.
    """

    def __init__(
        self,
        data: Sequence[Item],
        *,
        image_size: int,
        detection: bool = True,
        margin: float = 0.5,
        shift: float = 0.15,
        zoom: float = 1.3,
        random: bool = False,
        most: int | None = None,
        transform: Callable[..., Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.data = list(data)
        if not self.data:
            raise BreastkitError("The list of slices is empty; check the split or fold that was asked for.")
        self.image_size, self.detection, self.random = int(image_size), detection, random
        self.margin, self.shift, self.zoom = margin, shift, zoom
        self.transform, self.seed = transform, int(seed)
        names = [str(item.get("case", item["image"])) for item in self.data]
        order = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self.cases, self._case_of = len(order), [order[name] for name in names]
        self.slice_size = len(_read_slice(self.data[0]["image"]))
        self._parts = self._all_parts(_at_most(self.data, most, seed))
        self._epoch = torch.full((1,), -1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, boxes = self._parts[index]
        draw = generator(*self._random_key(), index)
        item = self.data[number]
        picture, label = _read_slice(item["image"]), read_mask(item["label"])
        if picture.shape[0] != picture.shape[1] or picture.shape[:2] != label.shape:
            raise BreastkitError(
                f"{item['image']} has {picture.shape[1]}x{picture.shape[0]} pixels and its mask {label.shape[1]}x"
                f"{label.shape[0]}, equal squares are needed; prepare the set again."
            )
        region = self._region(boxes, len(picture), draw)
        cut = cut_region(picture, region, self.image_size)
        image = torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1))).float() / 255
        mask = torch.from_numpy(cut_region(label, region, self.image_size, mask=True))[None].float()
        result = {"image": image, "label": mask}
        if self.transform is not None:
            if isinstance(self.transform, Randomizable):
                self.transform.set_random_state(seed=int(draw.integers(2**32)))
            with without_metadata():
                result = self.transform(result)
        return {**result, "case": self._case_of[number]}

    def set_epoch(self, epoch: int) -> None:
        """Tells which epoch begins, so that what is drawn depends on seed, epoch and position alone."""
        self._epoch[0] = int(epoch)

    def _random_key(self) -> tuple[int, str, int]:
        epoch = int(self._epoch[0])
        return (self.seed, "epoch", epoch) if epoch >= 0 else (self.seed, "torch", int(torch.randint(2**62, (1,))))

    def _region(self, boxes: Sequence[Box], size: int, draw: np.random.Generator) -> Region:
        if not self.detection:
            return whole(size)
        if not self.random:
            return region_around(boxes[0], size, margin=self.margin)
        zoom = float(np.exp(draw.uniform(-1, 1) * np.log(self.zoom)))
        shift = tuple(draw.uniform(-self.shift, self.shift, 2))
        box = boxes[int(draw.integers(len(boxes)))]
        return region_around(box, size, margin=self.margin, zoom=zoom, shift=shift)

    def _all_parts(self, chosen: Sequence[int]) -> list[tuple[int, Sequence[Box]]]:
        """Returns slices, by their position, with the boxes one of which is looked at."""
        if not self.detection:
            return [(number, []) for number in chosen]
        boxes = [_boxes_of(item) for item in self.data]
        parts: list[tuple[int, Sequence[Box]]] = []
        for number in chosen:
            here = boxes[number] or self._nearest(number, self.data[number], boxes)
            parts += [(number, here)] if self.random and here else [(number, [box]) for box in here]
        everything = (0, 0, self.slice_size, self.slice_size)
        return parts or [(number, [everything]) for number in chosen]

    def _nearest(self, number: int, item: Item, boxes: Sequence[Sequence[Box]]) -> Sequence[Box]:
        case = self._case_of[number]
        others = [other for other in range(len(self.data)) if boxes[other] and self._case_of[other] == case]
        if not others:
            return []
        return boxes[min(others, key=lambda other: abs(self.data[other].get("slice", 0) - item.get("slice", 0)))][:1]


def studies_of(cases: CaseList, items: Sequence[Item]) -> list[Item]:
    """Returns the studies that slices come from, each with its phases and mask, for evaluation in three dimensions.

    Args:
        cases: the case list.
        items: slices of it.

    Raises:
        BreastkitError: if the list does not name the studies, or one has no mask.
    """
    scans = cases.facts.get("scans", {})
    studies = []
    for name in dict.fromkeys(str(item["case"]) for item in items):
        scan = scans.get(name)
        if scan is None:
            raise BreastkitError(f"{cases.path} does not name the study of {name}; prepare the set again.")
        if not scan.get("mask"):
            raise BreastkitError(f"{name} has no lesion mask to be compared with; choose a set or split with masks.")
        # Later phases take time to read and are not looked at.
        studies.append({"image": scan["phases"][:2], "label": scan["mask"], "case": name, "name": name})
    return studies


def channels_of(dataset_dir: str | Path) -> str:
    """Returns what the colours of a prepared set's slices are; the default where there is no such set."""
    if not case_list_path(dataset_dir).is_file():
        return DEFAULT_CHANNELS
    return str(read_cases(dataset_dir, check=False).facts.get("channels", DEFAULT_CHANNELS))


def _at_most(data: Sequence[Item], most: int | None, seed: int) -> list[int]:
    """Returns the positions of so many slices, up to two thirds of them with a lesion, which are the rarer ones."""
    if most is None or len(data) <= int(most):
        return list(range(len(data)))
    order = generator(seed, "slices").permutation(len(data)).tolist()
    shown = [number for number in order if data[number].get("lesion_px", 1)]
    shown = shown[: max(2 * int(most) // 3, int(most) - (len(data) - len(shown)))]
    others = [number for number in order if not data[number].get("lesion_px", 1)]
    return sorted(shown + others[: int(most) - len(shown)])


def _boxes_of(item: Mapping[str, Any]) -> Sequence[Box]:
    return list(item["boxes"]) if "boxes" in item else slice_boxes(read_mask(item["label"]))


def _read_slice(path: str | Path) -> NDArray[Any]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise BreastkitError(f"{path} is missing, damaged or no picture; prepare the set again.")
    return picture
