"""Choosing images by whether they show a lesion."""

from __future__ import annotations

from collections.abc import Sequence

from breastkit.cases import Item


def with_lesion(items: Sequence[Item], *, only: bool = True) -> list[Item]:
    """Returns the items whose mask is not empty.

    An item that does not say so by ``lesion_px``, which preparation writes, is taken to show a lesion.

    Args:
        items: of a case list.
        only: False returns all items, so that a config can switch the choice off.
    """
    return [item for item in items if not only or item.get("lesion_px", 1)]
