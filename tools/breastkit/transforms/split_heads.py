"""What a network of several tasks says of the whole picture, taken apart from its outline."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class SplitHeadsd(MapTransform):
    """Leaves the outlines of probabilities ``(members · (1 + heads), rows, columns)`` and puts the rest aside.

    Under ``p_<head>`` stands what each head says, as one number, the mean over the members of an ensemble.

    Args:
        keys: the probabilities of a `breastkit.networks.MultiTask`, of one or of several members.
        heads: their names in order; without any, probabilities stay as they are.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(self, keys: KeysCollection, *, heads: Sequence[str], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.heads = tuple(heads)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the data with outlines alone, and one entry more for every head."""
        results = dict(data)
        for key in self.key_iterator(results) if self.heads else ():
            probabilities = results[key]
            step = 1 + len(self.heads)
            results[key] = probabilities[::step]
            for number, head in enumerate(self.heads, start=1):
                results[f"p_{head}"] = float(probabilities[number::step, 0, 0].mean())
        return results
