"""What is measured of model and labels, as MONAI Label's scoring methods."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from breastkit.server.models.scoring import Method, Scoring

_SAID = {
    Method.DICE: "Dice of the models against the saved labels",
    Method.UNCERTAINTY: "How unsure the models are of the images without a label",
}


class Measure(ScoringMethod):
    """One of the methods; the server runs it in the background.

    Args:
        method: which.
        scoring: runs it and knows what came out.
    """

    def __init__(self, method: Method, scoring: Scoring) -> None:
        super().__init__(_SAID[method])
        self.method, self.scoring = method, scoring

    def info(self) -> dict[str, Any]:
        """Returns what viewers are told: what it is, and what was found last."""
        return {**super().info(), **self.scoring.results().get(self.method, {})}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Runs the method and returns what it found."""
        return self.scoring.run(self.method)
