"""Ways to choose the next image to annotate."""

from __future__ import annotations

import random
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy


class First(Strategy):
    """The first image without a label, in the order of the list."""

    def __init__(self) -> None:
        super().__init__("The first image without a label")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> str | None:
        """Returns the identifier of an image, None if all have labels."""
        return next(iter(datastore.get_unlabeled_images()), None)


class Random(Strategy):
    """Any image without a label."""

    def __init__(self) -> None:
        super().__init__("Any image without a label")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> str | None:
        """Returns the identifier of an image, None if all have labels."""
        images = datastore.get_unlabeled_images()
        return random.choice(images) if images else None


STRATEGIES = {"first": First(), "random": Random()}
