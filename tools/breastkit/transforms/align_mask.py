"""Masks of training sets laid onto their scans where a conversion mirrored them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, convert_to_tensor, ensure_tuple
from numpy.typing import NDArray

# Percentage of a slice that counts as dark: air and, in most sequences, lung.
DARKEST = 40.0
_ROWS, _COLUMNS = 1, 0


@dataclass(frozen=True)
class Alignment:
    """What was seen in the slice with the largest mask, and what follows.

    Attributes:
        slice: its number.
        in_front: mask pixels in front of the mask's widest row.
        behind: mask pixels behind it.
        dark: mask pixels on the darkest part of the scan, once the mask is the right way up.
        dark_mirrored: the same of the mask's mirror image.
    """

    slice: int = 0
    in_front: int = 0
    behind: int = 0
    dark: int = 0
    dark_mirrored: int = 0

    @property
    def upside_down(self) -> bool:
        """Whether the mask points backwards: breasts are widest at the chest."""
        return self.behind > self.in_front

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged: a mask belongs on tissue, not on air."""
        return self.dark > self.dark_mirrored

    @property
    def axes(self) -> list[int]:
        """The axes (of column, row, slice) to flip."""
        return [_ROWS] * self.upside_down + [_COLUMNS] * self.mirrored


def find_alignment(scan: NDArray[Any], mask: NDArray[Any]) -> Alignment:
    """Compares a mask with its scan, both (column, row, slice) in the canonical frame.

    Of an empty mask nothing can be said, so it stays.
    """
    mask = mask > 0.5
    areas = mask.sum(axis=(0, 1))
    if not areas.any():
        return Alignment()
    number = int(areas.argmax())
    outline, picture = mask[..., number], scan[..., number]
    widths = np.where(outline.any(axis=0), len(outline) - outline.argmax(axis=0) - outline[::-1].argmax(axis=0), 0)
    widest = np.flatnonzero(widths == widths.max())
    in_front, behind = int(outline[:, widest[-1] + 1 :].sum()), int(outline[:, : widest[0]].sum())
    if behind > in_front:
        outline = outline[:, ::-1]
    dark = picture <= np.percentile(picture, DARKEST)
    return Alignment(number, in_front, behind, int((outline & dark).sum()), int((outline[::-1] & dark).sum()))


class AlignMaskd(MapTransform, InvertibleTransform):
    """Flips a mask onto its scan; for training sets, never for results. Both are to be in the canonical frame.

    Two rules look at the slice with the largest mask. More of the mask has to lie in front of its widest row, the one
    whose ends are farthest apart, than behind it; otherwise the mask is turned upside down. Of the mask and its mirror
    image the one stays that covers less of the darkest 40 % of the scan. Ties keep what is there. The decision is kept
    as ``alignment_decision`` among the mask's metadata.

    Args:
        image_key: the scan.
        mask_key: the mask, on the scan's grid.
        follow_keys: further masks that are flipped as it is.
        allow_missing_keys: whether the mask may be absent.
    """

    def __init__(
        self,
        image_key: str = "image",
        mask_key: str = "label",
        *,
        follow_keys: KeysCollection = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__((mask_key, *ensure_tuple(follow_keys)), allow_missing_keys)
        self.image_key, self.mask_key = image_key, mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its mask aligned.

        Raises:
            ValueError: if the mask is not on the scan's grid.
        """
        results = dict(data)
        if self.allow_missing_keys and self.mask_key not in results:
            return results
        scan, outline = torch.as_tensor(results[self.image_key]), torch.as_tensor(results[self.mask_key])
        if scan.shape != outline.shape:
            raise ValueError(f"{self.mask_key} has shape {tuple(outline.shape)}, its scan {tuple(scan.shape)}.")
        alignment = find_alignment(*(volume[0].detach().cpu().numpy() for volume in (scan, outline)))
        for key in self.key_iterator(results):
            mask = convert_to_tensor(results[key], track_meta=True)
            result = self._flipped(mask, alignment.axes)
            self.push_transform(result, extra_info={"axes": alignment.axes})
            result.meta["alignment_decision"] = {
                **asdict(alignment),
                "upside_down": alignment.upside_down,
                "mirrored": alignment.mirrored,
            }
            results[key] = result
        return results

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with its mask as it was."""
        results = dict(data)
        for key in self.key_iterator(results):
            axes = self.pop_transform(results, key)[TraceKeys.EXTRA_INFO]["axes"]
            results[key] = self._flipped(results[key], axes)
        return results

    @staticmethod
    def _flipped(mask: MetaTensor, axes: list[int]) -> MetaTensor:
        result: MetaTensor = MetaTensor(mask.as_tensor().flip([1 + axis for axis in axes])).copy_meta_from(mask)
        result.applied_operations = list(mask.applied_operations)
        return result
