"""What is measured of model and labels, as MONAI Label's scoring methods."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from breastkit.server.models.scoring import Scoring
from breastkit.server.models.scoring_methods import MEASURED, Method


class Measure(ScoringMethod):
    """One of the methods; the server runs it in the background.

    Args:
        method: which.
        scoring: runs it and knows what came out.
    """

    def __init__(self, method: Method, scoring: Scoring) -> None:
        super().__init__(MEASURED[method])
        self.method, self.scoring = method, scoring

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Runs the method and returns what it found."""
        return self.scoring.run(self.method)
