"""From a network's logits to a mask on the grid of what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.transforms import Activationsd, AsDiscreted, Compose, CopyItemsd, Invertd

from breastkit.transforms.clean_mask import CleanMaskd
from breastkit.transforms.ensemble_mean import EnsembleMeand
from breastkit.transforms.split_heads import SplitHeadsd


class MasksOfLogits(Compose):
    """Turns the logits under ``pred`` into a mask on the grid that ``image`` was read from.

    Args:
        undo: what was done to ``image``; it is undone on the probabilities.
        threshold: probability from which a pixel belongs to the mask.
        clean_up: what `CleanMaskd` does to the masks of pictures; None leaves masks as they are.
        keep_probability: keeps the probabilities under ``probability``.
        heads: what the network says besides of the whole picture, see `SplitHeadsd`.
    """

    def __init__(
        self,
        undo: Compose,
        *,
        threshold: float,
        clean_up: Mapping[str, Any] | None = None,
        keep_probability: bool = False,
        heads: Sequence[str] = (),
    ) -> None:
        super().__init__(
            [
                Activationsd("pred", sigmoid=True),
                SplitHeadsd("pred", heads=heads),
                Invertd("pred", undo, orig_keys="image", nearest_interp=False),
                EnsembleMeand("pred", threshold=threshold),
                *([CopyItemsd("pred", names="probability")] if keep_probability else []),
                AsDiscreted("pred", threshold=threshold),
                *([CleanMaskd("pred", **clean_up)] if clean_up is not None else []),
            ]
        )
