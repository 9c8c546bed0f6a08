"""Slices with their boxes as a detector learns from them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, Transform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from torch.utils.data import Dataset

from breastkit.dce.phases import slice_boxes
from breastkit.errors import BreastkitError
from breastkit.images import read_mask
from breastkit.seeding import generator
from breastkit.transforms.letterbox import Letterbox

# A slice has one lesion or a few; a batch needs the same number of rows for all.
MOST_BOXES = 32
# Of a box that augmentation pushes over the edge at least this share must still be seen.
_VISIBLE = 0.35


class LoadLesionSliced(MapTransform):
    """Replaces the path of a colour slice by its pixels, and gives its boxes under ``label``.

    The image becomes ``(3, size, size)``, float32 from 0 to 1. Boxes are those the item brings, else those of the parts
    of its mask; ``(N, 4)``: x0, y0, x1, y1 in pixels.

    Args:
        keys: the image's key.
        image_size: side of the square.
        allow_missing_keys: whether the key may be absent.
    """

    def __init__(self, keys: KeysCollection, image_size: int, *, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_size = int(image_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with pixels and boxes.

        Raises:
            BreastkitError: if a picture cannot be read, or the item has neither boxes nor a mask.
        """
        results = dict(data)
        for key in self.key_iterator(results):
            path = Path(results[key])
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise BreastkitError(f"{path} is missing or no picture; prepare the set again.")
            height, width = picture.shape[:2]
            box = Letterbox(height, width, self.image_size)
            boxes = np.array(self._boxes(results, path), np.float32).reshape(-1, 4)
            square = np.zeros((self.image_size, self.image_size, 3), np.uint8)
            square[box.window] = cv2.resize(picture, box.scaled[::-1], interpolation=cv2.INTER_AREA)
            scale, (rows, columns) = box.scaled[0] / box.rows, box.window
            boxes = boxes * scale + np.array([columns.start, rows.start] * 2, np.float32)
            results[key] = np.ascontiguousarray(square[..., ::-1].transpose(2, 0, 1), np.float32) / np.float32(255)
            results["label"] = boxes
        return results

    @staticmethod
    def _boxes(item: Mapping[Hashable, Any], path: Path) -> Sequence[Sequence[float]]:
        if "boxes" in item:
            brought: Sequence[Sequence[float]] = item["boxes"]
            return brought
        if "label" in item:
            return slice_boxes(read_mask(item["label"]))
        raise BreastkitError(f"{path} has neither boxes nor a mask; prepare the set again.")


class RandBoxAffined(Randomizable, Transform):
    """Mirrors, turns, scales and shifts a slice with its boxes.

    Args:
        image: key of the image ``(C, rows, columns)``.
        boxes: key of the boxes ``(N, 4)``.
        mirror: probability of exchanging left and right.
        upside_down: probability of exchanging front and back.
        degrees: turned by up to so much.
        scale: enlarged by a factor between these two.
        shift: moved by up to this share of the side.
    """

    def __init__(
        self,
        image: str,
        boxes: str,
        *,
        mirror: float = 0.5,
        upside_down: float = 0.0,
        degrees: float = 8.0,
        scale: tuple[float, float] = (0.7, 1.5),
        shift: float = 0.15,
    ) -> None:
        self.image, self.boxes = image, boxes
        self.mirror, self.upside_down, self.degrees = mirror, upside_down, degrees
        self.scale, self.shift = tuple(scale), shift

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item moved."""
        results = dict(data)
        image, boxes = np.asarray(results[self.image]), np.asarray(results[self.boxes], np.float32).reshape(-1, 4)
        size = image.shape[-1]
        matrix = self._matrix(size)
        moved = cv2.warpAffine(np.ascontiguousarray(image.transpose(1, 2, 0)), matrix, (size, size))
        results[self.image] = np.ascontiguousarray(moved.transpose(2, 0, 1))
        results[self.boxes] = moved_boxes(boxes, matrix, size)
        return results

    def _matrix(self, size: int) -> NDArray[Any]:
        low, high = np.log(self.scale)
        angle, zoom = np.deg2rad(self.R.uniform(-self.degrees, self.degrees)), np.exp(self.R.uniform(low, high))
        flips = [-1.0 if self.R.uniform() < share else 1.0 for share in (self.mirror, self.upside_down)]
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(flips)
        middle = np.full(2, (size - 1) / 2)
        shift = self.R.uniform(-self.shift, self.shift, 2) * size
        matrix: NDArray[Any] = np.column_stack([turn, middle + shift - turn @ middle])
        return matrix


def moved_boxes(boxes: NDArray[Any], matrix: NDArray[Any], size: int) -> NDArray[Any]:
    """Returns the boxes around moved boxes, without those that have left the image.

    Args:
        boxes: ``(N, 4)``, outer edges.
        matrix: 2x3, of pixel centres.
        size: side of the image.
    """
    if not len(boxes):
        return boxes
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) - 0.5
    corners = corners @ matrix[:, :2].T + matrix[:, 2] + 0.5
    whole = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    inside = whole.clip(0, size)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (inside, whole)]
    visible: NDArray[Any] = inside[areas[0] > _VISIBLE * areas[1]].astype(np.float32)
    return visible


class RandChannelContrastd(Randomizable, Transform):
    """Changes brightness and contrast of each channel by itself, as if contrast agent and sequence had been others.

    Args:
        image: key of the image, from 0 to 1.
        gain: each channel is multiplied by up to this factor or its inverse.
        offset: and shifted by up to so much.
        gamma: and raised to a power between this and its inverse.
    """

    def __init__(self, image: str, *, gain: float = 1.6, offset: float = 0.05, gamma: float = 1.5) -> None:
        self.image, self.gain, self.offset, self.gamma = image, gain, offset, gamma

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with another contrast, still from 0 to 1."""
        results = dict(data)
        image = np.asarray(results[self.image])
        count = len(image)
        gain, gamma = (
            np.exp(self.R.uniform(-np.log(limit), np.log(limit), count)) for limit in (self.gain, self.gamma)
        )
        offset = self.R.uniform(-self.offset, self.offset, count)
        powered = np.power(image, gamma[:, None, None].astype(np.float32))
        changed = powered * gain[:, None, None] + offset[:, None, None]
        results[self.image] = changed.clip(0, 1).astype(np.float32)
        return results


class PadBoxesd(Transform):
    """Brings boxes to one number of rows, so that slices make a batch; rows of zeros are no boxes.

    Args:
        boxes: key of the boxes.
        rows: how many rows.
    """

    def __init__(self, boxes: str = "label", *, rows: int = MOST_BOXES) -> None:
        self.boxes, self.rows = boxes, rows

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with so many rows; the largest boxes are kept where there are more."""
        boxes = np.asarray(data[self.boxes], np.float32).reshape(-1, 4)
        largest = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")[: self.rows]
        padded = np.zeros((self.rows, 4), np.float32)
        padded[: len(largest)] = boxes[np.sort(largest)]
        return {**data, self.boxes: torch.from_numpy(padded)}


class RandWindows:
    """Makes a trainer's batch of slices, half of the time cut to windows of one side, each at a place of its own.

    The network's attention spans what it is shown, and the chain shows it the box around the breasts alone. Where a
    slice has boxes one of them lies in its window. What is drawn depends on torch's seed.

    Args:
        sides: of the windows, squares; such as are not smaller than the slices are left out.
        whole: how often slices stay whole.
    """

    def __init__(self, sides: Sequence[int] = (128, 160, 192), *, whole: float = 0.5) -> None:
        self.sides, self.whole = tuple(int(side) for side in sides), float(whole)

    def __call__(
        self, batch: Mapping[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns images and boxes on a device."""
        images, boxes = batch["image"], batch["label"]
        sides = [side for side in self.sides if side < images.shape[-1]]
        if sides and float(torch.rand(())) >= self.whole:
            side = sides[int(torch.randint(len(sides), ()))]
            cut = [_window(image, own, side) for image, own in zip(images, boxes, strict=True)]
            images, boxes = (torch.stack(parts) for parts in zip(*cut, strict=True))
        return images.to(device, non_blocking=non_blocking), boxes.to(device, non_blocking=non_blocking)


def _window(image: torch.Tensor, boxes: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a window at a random place, and the boxes in it, as many rows as before."""
    latest = image.shape[-1] - side
    lowest, highest = torch.zeros(2), torch.full((2,), float(latest))
    there = torch.nonzero(boxes[:, 2] > boxes[:, 0]).flatten()
    if len(there):
        one = boxes[there[int(torch.randint(len(there), ()))]]
        middle = (one[:2] + one[2:]) / 2
        lowest, highest = (middle - side + 1).clamp(0, latest), middle.clamp(0, latest)
    left, top = (lowest + torch.rand(2) * (highest - lowest)).round().long().tolist()
    moved = boxes - boxes.new_tensor([left, top, left, top])
    inside = moved.clamp(0, side)
    areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (inside, moved)]
    inside[areas[0] <= _VISIBLE * areas[1]] = 0
    return image[:, top : top + side, left : left + side], inside


class LesionSlices(Dataset[dict[str, Any]]):
    """The slices of a case list: ``image``, ``label`` (boxes), ``case`` (a number) and ``slice``.

    Random transforms depend on seed, epoch and slice alone, whatever the number of workers or processes.

    Args:
        data: items of a case list.
        transform: reads an item, and changes it at random where it is to.
        seed: of the random transforms.
    """

    def __init__(
        self, data: Sequence[Mapping[str, Any]], transform: Callable[[dict[str, Any]], Any], *, seed: int = 0
    ) -> None:
        if not len(data):
            raise BreastkitError("There is no slice to look at; prepare more patients.")
        self.data, self.transform, self.seed = list(data), transform, seed
        self.names = list(dict.fromkeys(self._case(item) for item in self.data))
        self._numbers = {name: number for number, name in enumerate(self.names)}
        # Shared, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.data[index]
        if isinstance(self.transform, Randomizable):
            draw = generator(self.seed, "lesion slices", int(self._epoch[0]), index)
            self.transform.set_random_state(seed=int(draw.integers(2**32)))
        read = self.transform(dict(item))
        number = item.get("slice", index)
        return {
            "image": convert_to_tensor(read["image"], track_meta=False),
            "label": read["label"],
            "case": self._numbers[self._case(item)],
            "slice": int(number),
        }

    def set_epoch(self, epoch: int) -> None:
        """Tells which epoch begins."""
        self._epoch[0] = int(epoch)

    @staticmethod
    def _case(item: Mapping[str, Any]) -> str:
        return str(item.get("case", Path(str(item["image"])).stem))
