"""The breasts of a volume as a gland network looks at them: their box alone, at one scale, flat in brightness."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray

from breastkit.transforms.letterbox import plain

PIXEL_MM = 0.8
# Brightness is compared with its mean over the breast so many millimetres around.
_AROUND_MM = 15.0
# The mean is smooth, and so looked at on pixels so many times larger.
_COARSE = 4
# Share of the mean that a voxel differs by at most: what is brighter is as good as white.
_LIMITS = (-1.0, 3.0)


@dataclass(frozen=True)
class BreastView:
    """Where the breasts of an axial volume lie in pictures of one scale.

    Attributes:
        window: slices, rows and columns of the box around them.
        scaled: rows and columns of the pictures.
        pixel_mm: edge of a pixel of the pictures.
    """

    window: tuple[slice, slice, slice]
    scaled: tuple[int, int]
    pixel_mm: float

    @classmethod
    def around(cls, breast: NDArray[Any], spacing: Sequence[float], *, pixel_mm: float = PIXEL_MM) -> BreastView:
        """Returns the view of the breasts.

        Args:
            breast: mask [slice, row, column], not empty.
            spacing: of slices, rows and columns in millimetres.
            pixel_mm: edge of a pixel of the pictures.
        """
        inside = breast > 0
        spans = []
        for axes in ((1, 2), (0, 2), (0, 1)):
            there = np.flatnonzero(inside.any(axis=axes))
            spans.append(slice(int(there[0]), int(there[-1]) + 1))
        slices, rows, columns = spans
        high, wide = (
            max(1, round((part.stop - part.start) * float(step) / pixel_mm))
            for part, step in zip((rows, columns), spacing[1:], strict=True)
        )
        return cls((slices, rows, columns), (high, wide), pixel_mm)

    def pictures(self, scan: NDArray[Any], breast: NDArray[Any]) -> NDArray[np.float32]:
        """Returns by what share each voxel of the breasts is brighter than the breast around it; outside it is 0.

        That takes out the shading of coils and of fat suppression, and makes scans of all scales alike.

        Args:
            scan: [slice, row, column].
            breast: mask of the same grid.
        """
        dark = float(np.percentile(scan[::4, ::4, ::4], 1))
        result = np.zeros((self._count, *self.scaled), np.float32)
        for picture, values, mask in zip(result, scan[self.window], breast[self.window], strict=True):
            if mask.any():
                inside = self._resized((mask > 0).astype(np.float32), cv2.INTER_LINEAR) >= 0.5
                np.copyto(picture, _flat(self._resized(values - np.float32(dark)), inside, self.pixel_mm))
        return result

    def masks(self, mask: NDArray[Any]) -> NDArray[np.float32]:
        """Returns a mask as pictures of 0 and 1."""
        shares = [self._resized((part > 0).astype(np.float32)) for part in mask[self.window]]
        return (np.stack(shares) >= 0.5).astype(np.float32)

    def restored(self, pictures: NDArray[Any]) -> NDArray[np.float32]:
        """Returns pictures on the voxels of the box, see `window`."""
        size = tuple(part.stop - part.start for part in self.window[1:])
        back = [cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in pictures.astype(np.float32)]
        return np.stack(back)

    @property
    def _count(self) -> int:
        return int(self.window[0].stop) - int(self.window[0].start)

    def _resized(self, values: NDArray[Any], interpolation: int | None = None) -> NDArray[np.float32]:
        smaller = self.scaled[0] < values.shape[0]
        how = (cv2.INTER_AREA if smaller else cv2.INTER_LINEAR) if interpolation is None else interpolation
        picture = cv2.resize(np.ascontiguousarray(values, dtype=np.float32), self.scaled[::-1], interpolation=how)
        return np.asarray(picture, dtype=np.float32)


def _flat(picture: NDArray[np.float32], inside: NDArray[np.bool_], pixel_mm: float) -> NDArray[np.float32]:
    """Returns by what share pixels differ from the mean of the breast around them."""
    weight = inside.astype(np.float32)
    size = tuple(max(1, length // _COARSE) for length in picture.shape)[::-1]
    sigma = _AROUND_MM / pixel_mm / _COARSE
    sums, weights = (
        cv2.GaussianBlur(
            cv2.resize(one, size, interpolation=cv2.INTER_AREA), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT
        )
        for one in (picture * weight, weight)
    )
    mean = cv2.resize(sums / np.maximum(weights, 1e-3), picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = np.clip(picture / np.maximum(mean, 1e-6) - 1, *_LIMITS)
    return np.where(inside, share, 0).astype(np.float32)


class BreastViewd(MapTransform):
    """Turns volumes of the canonical frame into the pictures of `BreastView`, padded or cut to one size.

    ``(1, column, row, slice)`` becomes ``(1, row, column, slice)`` with the slices in which there is breast. For
    training, which needs pictures of one size; nothing is undone.

    Args:
        keys: the scan, and masks on its grid.
        breast_key: the mask of the breasts, which is left out of the result.
        image_key: which of the keys is the scan.
        size: rows and columns.
        pixel_mm: edge of a pixel.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        breast_key: str = "breast",
        image_key: str = "image",
        size: Sequence[int] = (288, 480),
        pixel_mm: float = PIXEL_MM,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.breast_key, self.image_key = breast_key, image_key
        self.size, self.pixel_mm = tuple(int(length) for length in size), float(pixel_mm)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with the breasts alone.

        Raises:
            ValueError: if the mask of the breasts is empty.
        """
        results = dict(data)
        source = results.pop(self.breast_key)
        breast = _axial(source)
        if not breast.any():
            raise ValueError(f"{self.breast_key} is an empty mask.")
        wide, high, thick = torch.linalg.norm(torch.as_tensor(source.affine)[:3, :3], dim=0).tolist()
        view = BreastView.around(breast, (thick, high, wide), pixel_mm=self.pixel_mm)
        for key in self.key_iterator(results):
            volume = _axial(results[key])
            pictures = view.pictures(volume, breast) if key == self.image_key else view.masks(volume)
            padded = torch.from_numpy(_centred(pictures, self.size)).permute(1, 2, 0)[None]
            results[key] = MetaTensor(padded)
        return results


def _axial(volume: Any) -> NDArray[Any]:
    """Returns (1, column, row, slice) of the canonical frame as [slice, row, column] with the front at the top."""
    axial: NDArray[Any] = plain(volume)[0].permute(2, 1, 0).numpy()[:, ::-1]
    return axial


def _centred(pictures: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """Returns pictures padded with 0, or cut, to rows and columns."""
    result = np.zeros((len(pictures), *size), np.float32)
    take, put = [], []
    for length, wanted in zip(pictures.shape[1:], size, strict=True):
        common = min(length, wanted)
        take.append(slice((length - common) // 2, (length - common) // 2 + common))
        put.append(slice((wanted - common) // 2, (wanted - common) // 2 + common))
    result[:, *put] = pictures[:, *take]
    return result
