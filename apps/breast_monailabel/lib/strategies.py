"""Ways to choose the next image to annotate."""

from __future__ import annotations

import random
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from breastkit.server.uncertainty import UncertaintyScores


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


class Uncertainty(Strategy):
    """The picture without a label of which the model is least sure; while nothing is known, the first.

    Args:
        scores: how unsure it is of each.
    """

    def __init__(self, scores: UncertaintyScores) -> None:
        super().__init__("The picture without a label of which the model is least sure")
        self.scores = scores

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> str | None:
        """Returns the identifier of an image, None if all have labels."""
        images, known = datastore.get_unlabeled_images(), self.scores.known()
        if any(image not in known for image in images):
            self.scores.score_in_background()
        # Of equals, and of those not scored yet, the first in the list.
        return max(images, key=lambda image: known.get(image, -0.5)) if images else None
