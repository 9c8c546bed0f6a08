"""Ways to choose the next image to annotate, as MONAI Label's strategies."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from breastkit.active_learning import Choice
from breastkit.server.models.choosing import NextImage


class NextSample(Strategy):
    """One of the ways to choose.

    Args:
        name: of the strategy.
        description: what viewers are told of it.
        chooser: chooses.
    """

    def __init__(self, name: str, description: str, chooser: NextImage) -> None:
        super().__init__(description)
        self.how, self.chooser = Choice(name), chooser

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Returns the image as MONAI Label tells of it, nothing if all have labels.

        Args:
            request: ``seed``, with which ``random`` gives the same image again.
            datastore: the app's own.
        """
        seed = request.get("seed")
        chosen = self.chooser.choose(self.how, seed=None if seed is None else int(seed))
        return {} if chosen is None else {"id": chosen}
