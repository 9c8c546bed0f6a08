"""What letterboxing pictures and slices of volumes have in common: options, and the record that undoes it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform
from monai.utils import InterpolateMode, TraceKeys, convert_to_tensor
from numpy.typing import NDArray

from breastkit.transforms.mask_keys import MaskKeysTransform

_SQUARE = 0.01


@dataclass(frozen=True)
class Letterbox:
    """Where a slice lies in its square: the size it is scaled to and the padding before it.

    Attributes:
        rows: rows of the original slice.
        columns: columns of the original slice.
        size: side of the square.
        aspect: height of a pixel over its width.
    """

    rows: int
    columns: int
    size: int
    aspect: float = 1.0

    @classmethod
    def of_spacing(cls, rows: int, columns: int, size: int, *, spacing: Sequence[float]) -> Letterbox:
        """Returns where slices whose pixels have a height and a width in millimetres lie.

        Pixels as high as wide to within a hundredth count as square, as headers round them.
        """
        high, wide = (float(length) for length in spacing)
        return cls(rows, columns, size, high / wide if abs(high / wide - 1) > _SQUARE else 1.0)

    @property
    def scaled(self) -> tuple[int, int]:
        """Rows and columns after scaling: the longest side fills the square, what is round in the body stays round."""
        high = self.rows * self.aspect
        scale = self.size / max(high, self.columns)
        return max(1, round(high * scale)), max(1, round(self.columns * scale))

    @property
    def window(self) -> tuple[slice, slice]:
        """The part of the square the slice fills, centred."""
        top, left = ((self.size - length) // 2 for length in self.scaled)
        return slice(top, top + self.scaled[0]), slice(left, left + self.scaled[1])

    @property
    def affine(self) -> NDArray[Any]:
        """Voxel index (row, column, slice) of the square to voxel index (column, row, slice) of the volume."""
        rows, columns = self.window
        down, right = self.rows / self.scaled[0], self.columns / self.scaled[1]
        matrix = np.zeros((4, 4))
        matrix[0, [1, 3]] = right, (0.5 - columns.start) * right - 0.5
        matrix[1, [0, 3]] = down, (0.5 - rows.start) * down - 0.5
        matrix[2, 2] = matrix[3, 3] = 1
        return matrix


class LetterboxTransform(MaskKeysTransform, InvertibleTransform):
    """The options of both transforms, what they do to each key, and how they record it.

    The inverse undoes the geometry of any number of channels, bilinear for what came from an image (and for
    probabilities), nearest for masks or where `monai.transforms.Invertd` asks for it.

    Args:
        keys: the images and masks.
        image_size: side of the square.
        mask_keys: which of the keys are masks.
        percentiles: lower and upper clip percentage; those of `default_percentiles` if None.
        allow_missing_keys: whether a key may be absent.
    """

    default_percentiles: ClassVar[tuple[float, float]]
    # What is letterboxed, and how many axes it has behind its one channel.
    kind: ClassVar[str]
    dimensions: ClassVar[int]

    def __init__(
        self,
        keys: KeysCollection,
        image_size: int,
        *,
        mask_keys: KeysCollection = ("label",),
        percentiles: tuple[float, float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, mask_keys=mask_keys, allow_missing_keys=allow_missing_keys)
        low, high = self.default_percentiles if percentiles is None else percentiles
        self.image_size = int(image_size)
        self.percentiles = (float(low), float(high))
        if self.image_size < 1:
            raise ValueError(f"image_size must be positive, got {image_size}.")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles must rise within 0 to 100, got {(low, high)}.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data letterboxed.

        Raises:
            ValueError: if something is not one channel with so many axes.
        """
        results = dict(data)
        for key in self.key_iterator(results):
            source = convert_to_tensor(results[key], track_meta=True)
            if source.ndim != 1 + self.dimensions or source.shape[0] != 1:
                raise ValueError(f"{key} must be one channel of a {self.kind}, got shape {tuple(source.shape)}.")
            squares, box, moved = self.squares(key, source)
            result: MetaTensor = MetaTensor(squares).copy_meta_from(source)
            result.applied_operations = list(source.applied_operations)
            mode = InterpolateMode.NEAREST if self.is_mask(key) else InterpolateMode.BILINEAR
            info = {**asdict(box), "mode": mode.value}
            self.push_transform(result, orig_size=tuple(source.shape[1:]), extra_info=info, **moved)
            results[key] = result
        return results

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data on the grid it had before."""
        results = dict(data)
        for key in self.key_iterator(results):
            info = self.pop_transform(results, key)[TraceKeys.EXTRA_INFO]
            # `monai.transforms.Invertd` may have changed the mode.
            nearest = info["mode"].startswith(InterpolateMode.NEAREST.value)
            box = Letterbox(**{field.name: info[field.name] for field in fields(Letterbox)})
            results[key] = self.restored(results[key], box, nearest=nearest)
        return results

    @abstractmethod
    def squares(self, key: Hashable, source: MetaTensor) -> tuple[torch.Tensor, Letterbox, dict[str, Any]]:
        """Returns the squares, where the source lies in them, and what MONAI is to know besides, such as ``affine``."""

    @abstractmethod
    def restored(self, source: torch.Tensor, box: Letterbox, *, nearest: bool) -> MetaTensor:
        """Returns squares on the grid that was letterboxed, to the nearest neighbour if asked."""


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor numpy can look at without copying; metadata makes every small operation several times slower."""
    return (tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor).detach().cpu()
